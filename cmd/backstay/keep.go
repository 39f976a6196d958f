package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
)

var keepUsage = `Usage: backstay keep [FLAGS]

Keeps the databases of one machine: starts them, restarts those that die, and tells "backstay
serve" how they are. serve starts it by itself and it outlives serve; the databases outlive both.

` + configFlagUsage + new(cli).table().Help(dataPlaneNames()...)

func keep(ctx context.Context, c *cli, args []string) error {
	goLast()
	fs := flag.NewFlagSet("keep", flag.ContinueOnError)
	read := c.configFlags(fs, dataPlaneNames()...)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	executable, err := process.Executable()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	told := cfg.told() // before what it is made from is read: if that changes in between, another keeper is started
	key, err := cfg.recordsKey(ctx, c.stdin)
	if err != nil {
		return err
	}
	repository, err := cfg.openRepository()
	if err != nil { // which keeps no database from running
		log.Error("no backup can be taken", "error", err)
	}
	return keeper.Run(ctx, keeper.Config{
		DataDir: string(cfg.data), StandbyDir: cfg.standbyData, Engines: cfg.engines(), Host: cfg.endpointHost,
		Listen: []string{cfg.endpointListen}, Ports: cfg.ports, MinFree: cfg.minFree,
		Volumes: cfg.volumes, Overcommit: cfg.overcommit, Reserve: cfg.volumeReserve, Version: buildVersion(),
		NoLimits: cfg.noLimits, Executable: executable, Seal: key, Repository: repository, Told: told, Log: log,
		Front: endpoint.Front{Command: []string{"backstay", "front"}, Settings: endpoint.Settings{Build: executable}},
	})
}
