package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

// rehearse has pg_upgrade check the server that runs. It may not use the server's own socket, nor read its data, since
// it runs as another user. So it finds a socket behind which we connect for it, and beside it what it reads of a data
// directory whose server runs: the version, the control file and the file that says where the server is.
func (u upgrade) rehearse(ctx context.Context, w *datadir.Workshop) error {
	old := filepath.Join(w.Dir, "old")
	if err := u.sketch(w, old); err != nil {
		return fmt.Errorf("sketch the data directory: %w", err)
	}
	if err := u.layNew(ctx, w); err != nil {
		return err
	}
	end, err := u.receive(ctx, w)
	if err != nil {
		return err
	}
	return errors.Join(u.pgUpgrade(w, old, "--check"), end())
}

// sketchDirs are those without which pg_upgrade takes a directory for no data.
var sketchDirs = []string{
	"", "base", "global", "pg_multixact", "pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal", "pg_xact",
}

func (u upgrade) sketch(w *datadir.Workshop, old string) error {
	uid, gid := w.IDs()
	for _, name := range sketchDirs {
		dir := filepath.Join(old, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(u.from.DataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	files := map[string]string{"postmaster.pid": fmt.Sprintf("%d\n%s\n0\n%d\n%s\n\n\nready   \n",
		os.Getpid(), old, pgserver.DefaultPort, u.Sockets)}
	for _, name := range []string{"PG_VERSION", filepath.Join("global", "pg_control")} {
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		files[name] = string(text)
	}
	return datadir.Fill(old, uid, gid, files)
}

// receive lets the programs of a workshop connect to the server that runs, as its administrator, until end is called.
func (u upgrade) receive(ctx context.Context, w *datadir.Workshop) (end func() error, err error) {
	uid, gid := w.IDs()
	return pgserver.Forward(ctx, pgserver.Socket(u.Sockets, 0), uid, gid, u.connect)
}

// connect carries one connection. What is meant for template1, which our servers do not have, goes to database main:
// pg_upgrade asks there for what is the same in all databases.
func (u upgrade) connect(ctx context.Context, client net.Conn) {
	first, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
	start, ok := first.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	if start.Parameters["database"] == "template1" {
		start.Parameters["database"] = database
	}
	message, err := start.Encode(nil)
	if err != nil {
		return
	}
	server, err := u.from.Admin.Dial(ctx)
	if err != nil {
		return
	}
	if _, err := server.Write(message); err != nil {
		server.Close()
		return
	}
	pgserver.Join(ctx, client, server)
}
