package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// gtid is MariaDB's global id of a transaction: the server that committed it, and its number in the history that all
// nodes of an instance share. Nobody may begin another domain, which would be a history of its own.
type gtid struct {
	domain, server uint32
	sequence       uint64
}

func (g gtid) String() string { return fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.sequence) }

// parseGTID reads a position in the history; the beginning is empty.
func parseGTID(text string) (g gtid, err error) {
	if text == "" {
		return g, nil
	}
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return g, fmt.Errorf("%q is no position in one history", text)
	}
	numbers := make([]uint64, len(parts))
	for i, part := range parts {
		if numbers[i], err = strconv.ParseUint(part, 10, 64); err != nil {
			return g, err
		}
	}
	return gtid{domain: uint32(numbers[0]), server: uint32(numbers[1]), sequence: numbers[2]}, nil
}

// position asks a server for one, by an expression of SQL. @@gtid_binlog_pos is the last that it has committed.
func position(ctx context.Context, conn *sql.Conn, expression string) (gtid, error) {
	var text sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT "+expression).Scan(&text); err != nil {
		return gtid{}, err
	}
	return parseGTID(text.String)
}

const committed = "@@GLOBAL.gtid_binlog_pos"
