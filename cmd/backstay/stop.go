package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
)

var stopUsage = `Usage: backstay stop [--data DIR]

Ends the control plane and then every database of this machine's data plane, and waits until all
are down. What they have logged last goes into their backups' repository, if that takes it within ten
seconds. No data is touched: "backstay serve" starts everything again.

` + dataUsage

func stop(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("stop", flag.ContinueOnError)
	data := c.dataFlags(fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	dir, err := data()
	if err != nil {
		return err
	}
	served, err := stopServe(ctx, dir)
	if err != nil {
		return fmt.Errorf("stop backstay serve: %w", err)
	}
	kept, err := stopKeeper(ctx, dir)
	if err != nil {
		return fmt.Errorf("stop the databases: %w", err)
	}
	switch {
	case kept:
		fmt.Fprintln(c.stdout, "Backstay and its databases have stopped; all data stays.")
	case served:
		fmt.Fprintln(c.stdout, "Backstay has stopped; no database was running.")
	default:
		fmt.Fprintln(c.stdout, "Nothing was running.")
	}
	return nil
}

// stopServe ends the control plane of dir and reports whether it ran.
func stopServe(ctx context.Context, dir dataDir) (bool, error) {
	pid, err := process.PIDFileHolder(dir.servePID())
	if err != nil || pid == 0 {
		return false, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(pidfd)
	// The pid may have changed hands before the pidfd tied it down; who still holds the file has not.
	if again, err := process.PIDFileHolder(dir.servePID()); err != nil || again != pid {
		return true, err
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0); err != nil {
		return false, err
	}
	return true, awaitEnd(ctx, pidfd)
}

// stopPatience is how long the data plane may take to stop: engines write what they have changed, and their archives
// what was logged last.
const stopPatience = 2 * time.Minute

// stopKeeper ends the data plane of dir and reports whether it ran. If its keeper has died, and nobody
// was there to start another, the databases run all the same: then we are the one to end them.
func stopKeeper(ctx context.Context, dir dataDir) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	for {
		asked, err := local.New(dir.keeperSocket()).Stop(ctx)
		if asked {
			return true, err
		}
		count, err := keeper.StopEngines(string(dir), (&config{}).engines())
		if !errors.Is(err, keeper.ErrKept) || ctx.Err() != nil {
			return count > 0, err
		}
		time.Sleep(20 * time.Millisecond) // a keeper is about to listen, or to end
	}
}

// awaitEnd returns when the process has ended, or with ctx's error.
func awaitEnd(ctx context.Context, pidfd int) error {
	const lookUp = 100 // milliseconds between looks at ctx; the end itself is told at once
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, lookUp)
		if n == 1 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}
