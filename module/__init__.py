"""What viam-server starts: joins the package `holdfast` to viam-server by the Viam SDK."""
