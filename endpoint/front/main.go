package front

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/endpoint"
)

// Main is a process that [endpoint.Front] has started, with the arguments behind its command: it serves until ctx ends
// or another front has taken over. It says on stdout that it serves, or why not, and closes that; stderr is its log.
func Main(ctx context.Context, args []string, stdout io.WriteCloser, stderr io.Writer) error {
	signal.Ignore(syscall.SIGPIPE) // which would end us when who has started us has gone before we say that we serve
	// One processor in two is the nodes' and the clients' own. With more than it can fill, the front spends a fifth of
	// its time on looking for work.
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	c, err := parse(args)
	if err == nil {
		c.Log = slog.New(slog.NewTextHandler(stderr, nil)).With("pid", os.Getpid())
		said := false
		c.Ready = func() {
			said = true
			fmt.Fprintln(stdout, endpoint.Ready)
			stdout.Close()
		}
		if err = Run(ctx, c); said {
			return err
		}
	}
	if err != nil {
		fmt.Fprintln(stdout, err)
	}
	return err
}

func parse(args []string) (c Config, err error) {
	fs := flag.NewFlagSet("front", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	listen := fs.String("listen", "", "")
	fs.StringVar(&c.Dir, "dir", "", "")
	fs.IntVar(&c.Connections, "connections", 0, "")
	fs.DurationVar(&c.Patience, "patience", 0, "")
	fs.StringVar(&c.Build, "build", "", "")
	if err := fs.Parse(args); err != nil {
		return c, backstay.Errorf(backstay.Invalid, "%v.", err)
	}
	for text := range strings.SplitSeq(*listen, ",") {
		at, err := netip.ParseAddrPort(text)
		if err != nil || at.Port() == 0 {
			return c, backstay.Errorf(backstay.Invalid, "--listen: want addresses with their ports, not %q.", text)
		}
		c.Listen = append(c.Listen, at)
	}
	if c.Dir == "" || c.Connections <= 0 || c.Patience <= 0 || fs.NArg() > 0 {
		return c, backstay.Errorf(backstay.Invalid, "--dir, --connections and --patience are needed, and nothing else.")
	}
	return c, nil
}
