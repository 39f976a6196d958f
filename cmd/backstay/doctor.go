package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const doctorUsage = `Usage: backstay doctor [FLAGS]

Says what Backstay finds on this machine, what is missing, and the command that helps. It ends
with exit code 1 if Backstay cannot do its work here. Give it the flags that serve is given; see
"backstay help serve".
`

func doctor(ctx context.Context, c *cli, args []string) error {
	cfg, err := c.serveConfig("doctor", args)
	if err != nil {
		return err
	}
	var found []finding
	known := cfg.engines()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		found = append(found, examineEngine(ctx, name, known[name])...)
		found = append(found, examineBuilds(ctx, name, known[name], string(cfg.data))...)
	}
	found = append(found, examineCF(ctx, c.cfCLI(cfg.data)))
	found = append(found, examineFiles(cfg)...)
	found = append(found, examineCertificates(cfg, time.Now())...)
	found = append(found, examineData(cfg.data, cfg.minFree, c.root)...)
	if place := nearestExisting(string(cfg.data)); unix.Access(place, unix.W_OK|unix.X_OK) == nil {
		found = append(found, examineVolumes(ctx, place, cfg.volumes)...)
	}
	if cfg.standbyData != "" {
		found = append(found, examineStandbys(ctx, cfg, c.root)...)
	}
	found = append(found, examineLimits(cfg.noLimits, nearestExisting(string(cfg.data)))...)
	found = append(found, examineState(ctx, cfg)...)
	found = append(found, examineRepository(ctx, cfg, time.Now()))
	found = append(found, examineCluster(ctx, cfg)...)
	found = append(found, examineUsers(c.root))
	found = append(found, examineAddress("API", "listen", cfg.listen, cfg.data))
	if cfg.osb.listen != "" {
		found = append(found, examineAddress("API for platforms", osbSetting, cfg.osb.listen, cfg.data))
	}
	found = append(found, examinePorts(cfg.endpointListen, cfg.ports))
	return diagnose(c.stdout, found)
}

// finding is one thing that doctor looked at.
type finding struct {
	level  level
	what   string
	state  string
	remedy string // a command; empty when all is well
}

type level string

const (
	good    level = "ok"
	fair    level = "note" // Backstay works, with less
	lacking level = "MISSING"
)

// diagnose prints what was found and fails, with the first remedy, if anything is lacking.
func diagnose(w io.Writer, found []finding) error {
	var remedy string
	var count int
	for _, f := range found {
		fmt.Fprintf(w, "%-8s %-22s %s\n", f.level, f.what, f.state)
		if f.remedy != "" {
			fmt.Fprintf(w, "%-8s %-22s type: %s\n", "", "", f.remedy)
		}
		if f.level == lacking {
			if count++; count == 1 {
				remedy = f.remedy
			}
		}
	}
	if count == 0 {
		return nil
	}
	return advise(fmt.Errorf("things that must be put right: %d", count), "%s", remedy)
}

func unknown(what string, err error) finding {
	return finding{fair, what, fmt.Sprintf("cannot tell: %v", err), ""}
}
