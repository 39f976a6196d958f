package main

import "context"

const serveUsage = `Usage: backstay serve
`

func serve(ctx context.Context, c *cli, args []string) error { panic("founder") }

const adminPasswordUsage = `Usage: backstay admin-password
`

func adminPassword(ctx context.Context, c *cli, args []string) error { panic("founder") }
