package main

import "context"

const keepUsage = `Usage: backstay keep
`

func keep(ctx context.Context, c *cli, args []string) error { panic("founder") }
