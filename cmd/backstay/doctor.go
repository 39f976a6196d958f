package main

import "context"

const doctorUsage = "Usage: backstay doctor\n"

func doctor(ctx context.Context, c *cli, args []string) error { return nil }
