// Command viam-server is the real viam-server, built from its own Go module for the end-to-end tests.
package main

import (
	"go.viam.com/rdk/logging"
	"go.viam.com/rdk/web/server"
	"go.viam.com/utils"

	_ "go.viam.com/rdk/components/arm/wrapper"
	_ "go.viam.com/rdk/components/register"
	_ "go.viam.com/rdk/services/register"
)

var logger = logging.NewDebugLogger("entrypoint")

func main() {
	utils.ContextualMain(server.RunServer, logger)
}
