package endpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/endpoint/front"
)

// What a process of the test binary is to be, instead of the tests.
const (
	beFront   = "front"   // that the rest of the arguments asks for
	beStarter = "starter" // of the front that the next argument describes, until it is killed
)

func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case beFront:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = front.Main(ctx, os.Args[2:], os.Stdout, os.Stderr)
	case beStarter:
		err = start(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(description string) error {
	var f endpoint.Front
	if err := json.Unmarshal([]byte(description), &f); err != nil {
		return err
	}
	if _, err := f.Ensure(context.Background()); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}
