package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/backstay/backstay/engine/door"
)

// Main runs the front whose configuration lies at args[0], until ctx ends. Where it cannot listen, it ends the node:
// that serves nobody, and so it is seen why.
func Main(ctx context.Context, args []string, log io.Writer) error {
	if len(args) != 1 {
		return errors.New("the front takes the path of its configuration")
	}
	c, err := door.ReadConfig[Config](args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	succession, err := door.Succeed(filepath.Join(c.RunDir, "front.sock"), cancel)
	if err != nil {
		return err
	}
	defer succession.Close()
	listeners, err := door.Listen(ctx, c.Listen)
	if err != nil {
		fmt.Fprintln(log, Said+err.Error())
		return errors.Join(err, endNode(c.RunDir))
	}
	up, err := newUpstream(filepath.Dir(args[0]), c, log)
	if err != nil {
		return err
	}
	operators, err := door.ListenUnix(Socket(c.RunDir))
	if err != nil {
		return err
	}
	s := newServer(args[0], c, up)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	fail := func(err error) {
		if ctx.Err() == nil {
			fmt.Fprintln(log, Said+err.Error())
			cancel()
		}
	}
	all.Go(func() { fail(up.splice(ctx, operators)) })
	for _, l := range listeners {
		all.Go(func() { fail(s.ServeTLS(s.places.give(l), "", "")) })
	}
	<-ctx.Done()
	return errors.Join(s.Close(), operators.Close())
}

// endNode asks the node's server to end.
func endNode(runDir string) error {
	text, err := os.ReadFile(filepath.Join(runDir, ProcessID))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		return errors.New("OpenSearch does not run")
	}
	return syscall.Kill(pid, syscall.SIGTERM)
}
