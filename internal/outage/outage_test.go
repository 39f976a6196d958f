package outage_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/outage"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	_, refused := pgx.Connect(t.Context(), "postgres:///main?host="+t.TempDir()+"&user=backstay")
	for name, tc := range map[string]struct {
		err  error
		want backstay.Kind
	}{
		"nobody listens":     {fmt.Errorf("authenticate: %w", refused), backstay.Unavailable},
		"a broken pipe":      {&net.OpError{Op: "write", Err: errors.New("broken pipe")}, backstay.Unavailable},
		"dead half-way":      {fmt.Errorf("delete: %w", io.ErrUnexpectedEOF), backstay.Unavailable},
		"starting up":        {&pgconn.PgError{Code: "57P03"}, backstay.Unavailable},
		"a full disk":        {&pgconn.PgError{Code: "53100"}, backstay.Unavailable},
		"a cancelled query":  {&pgconn.PgError{Code: "57014"}, backstay.Internal},
		"a mistake of ours":  {&pgconn.PgError{Code: "42601"}, backstay.Internal},
		"classified already": {backstay.Wrapf(refused, backstay.NotFound, "No."), backstay.NotFound},
		"anything else":      {errors.New("else"), backstay.Internal},
	} {
		if got := backstay.KindOf(outage.Explain(tc.err)); got != tc.want {
			t.Errorf("%s: %v is %v; want %v", name, tc.err, got, tc.want)
		}
	}
	if err := outage.Explain(nil); err != nil {
		t.Errorf("nothing is %v", err)
	}
}
