package redis_test

import (
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

const library = `#!lua name=lib
redis.register_function{function_name = 'peek', flags = {'no-writes'}, callback = function(keys) return redis.call('GET', keys[1]) end}
redis.register_function('poke', function(keys) return redis.call('SET', keys[1], 'x') end)`

// reading is a read-only binding's client of an instance that holds a key of each type, and the client
// of who made them.
func reading(t *testing.T) (reader, writer *goredis.Client) {
	t.Helper()
	n, _, writer := serving(t)
	for _, command := range []string{"SET k v", "SET n 7", "HSET h f v", "RPUSH l a b", "SADD s m", "ZADD z 1 m",
		"GEOADD g 1 2 m", "XADD x 1-1 f v",
		"XGROUP CREATE x group 0", "PFADD p a b"} {
		if err := do(t, writer, command); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	if err := writer.FunctionLoad(t.Context(), library).Err(); err != nil {
		t.Fatal(err)
	}
	c, err := tested.CreateUser(t.Context(), n,
		engine.User{Name: "reader", Password: "correcthorsebatterystaple", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if reader, err = dial(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return reader, writer
}

func do(t *testing.T, c *goredis.Client, command string) error {
	t.Helper()
	var args []any
	for _, word := range strings.Fields(command) {
		args = append(args, word)
	}
	err := c.Do(t.Context(), args...).Err()
	if err == goredis.Nil {
		return nil
	}
	return err
}

// TestReadOnlyReads all that is there, and what clients say to find their way.
func TestReadOnlyReads(t *testing.T) {
	t.Parallel()
	reader, _ := reading(t)
	for _, command := range []string{
		"HELLO 3", "PING", "ECHO x", "SELECT 0", "CLIENT SETNAME app", "CLIENT ID", "CLIENT LIST", "COMMAND COUNT", "INFO",
		"ROLE", "TIME", "ACL WHOAMI", "DBSIZE",
		"GET k", "MGET k n", "STRLEN k", "EXISTS k", "TTL k", "TYPE k", "KEYS *", "SCAN 0", "RANDOMKEY", "OBJECT ENCODING k",
		"MEMORY USAGE k", "DUMP k", "TOUCH k",
		"HGETALL h", "LRANGE l 0 -1", "SMEMBERS s", "ZRANGE z 0 -1", "GEOPOS g m", "GEOSEARCH g FROMMEMBER m BYRADIUS 1 m",
		"XRANGE x - +", "XREAD STREAMS x 0", "XINFO STREAM x",
		"XINFO GROUPS x", "XPENDING x group", "PFCOUNT p", "BITCOUNT k", "GETBIT k 0", "BITFIELD_RO k GET u8 0",
		"SORT_RO l ALPHA", "LCS k n", "SUNION s", "ZINTER 1 z",
		"EVAL_RO return(redis.call('GET',KEYS[1])) 1 k", "FCALL_RO peek 1 k", "FUNCTION LIST", "FUNCTION DUMP",
		"WATCH k", "MULTI", "GET k", "EXEC", "UNWATCH", "PUBSUB CHANNELS", "PUBSUB NUMSUB c",
		"LASTSAVE", "SLOWLOG GET", "SLOWLOG LEN", "LATENCY LATEST", "LATENCY HISTORY command", "LATENCY DOCTOR",
		"LATENCY HISTOGRAM",
	} {
		if err := do(t, reader, command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// TestReadOnlyChangesNothing: the commands are refused one by one, and what is there stays as it is.
func TestReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	reader, writer := reading(t)
	before := dumps(t, writer)
	for _, command := range []string{
		"SET k x", "SET new x", "SETNX new x", "GETSET k x", "GETDEL k", "GETEX k EX 1", "APPEND k x", "INCR n",
		"SETRANGE k 0 x", "SETBIT k 0 1", "BITFIELD k SET u8 0 1", "BITOP NOT new k",
		"DEL k", "UNLINK k", "EXPIRE k 1", "PERSIST k", "RENAME k new", "COPY k new", "MOVE k 1", "SWAPDB 0 1",
		"RESTORE new 0 x", "FLUSHDB", "FLUSHALL",
		"HSET h f x", "HDEL h f", "LPUSH l x", "LPOP l", "BLPOP l 1", "LMOVE l new LEFT LEFT", "LTRIM l 0 0", "SADD s x",
		"SPOP s", "SUNIONSTORE new s", "ZADD z 2 m", "ZPOPMIN z",
		"ZRANGESTORE new z 0 -1", "GEOADD g 2 2 m", "GEOSEARCHSTORE new g FROMMEMBER m BYRADIUS 1 m",
		"GEORADIUS g 1 2 1 m STORE new", "SORT l ALPHA STORE new", "SORT l ALPHA",
		"XADD x * f v", "XDEL x 1-1", "XTRIM x MAXLEN 0", "XREADGROUP GROUP group me STREAMS x >", "XACK x group 1-1",
		"XGROUP CREATE x other 0", "XGROUP DESTROY x group", "XCLAIM x group me 0 1-1", "XSETID x 9-9",
		"PFADD p x", "PFMERGE new p", "PUBLISH c m", "SPUBLISH c m",
		"EVAL return(1) 0", "EVALSHA x 0", "EVAL_RO return(redis.call('SET',KEYS[1],'x')) 1 k",
		"EVAL_RO return(redis.call('SET','k','x')) 0", "EVAL_RO return(redis.call('PUBLISH','c','m')) 0",
		"SCRIPT LOAD return(1)", "SCRIPT FLUSH", "SCRIPT KILL", "FCALL poke 1 k", "FCALL_RO poke 1 k", "FUNCTION LOAD x",
		"FUNCTION DELETE lib", "FUNCTION FLUSH", "FUNCTION RESTORE x", "FUNCTION KILL",
		"ACL SETUSER reader >other", "ACL SETUSER reader nopass", "ACL DELUSER reader", "ACL LIST", "ACL GETUSER reader",
		"ACL SAVE", "ACL LOAD", "CONFIG SET requirepass x", "CONFIG GET *",
		"CLIENT KILL TYPE normal", "CLIENT PAUSE 1000", "CLIENT UNBLOCK 1", "CLIENT NO-EVICT on", "SHUTDOWN",
		"REPLICAOF NO ONE", "BGSAVE", "SAVE", "MONITOR", "SLOWLOG RESET", "LATENCY RESET",
		"MIGRATE 127.0.0.1 1 k 0 1",
	} {
		if err := do(t, reader, command); err == nil || !refusal(err) {
			t.Errorf("%s: %v, want it to be refused", command, err)
		}
	}
	if err := do(t, reader, "MULTI"); err == nil {
		for _, command := range []string{"SET k x", "EXEC"} {
			if err := do(t, reader, command); err == nil {
				t.Errorf("%s within MULTI: want it to be refused", command)
			}
		}
	}
	if after := dumps(t, writer); !slices.Equal(before, after) {
		t.Errorf("there was\n%q\nand now is\n%q", before, after)
	}
}

func refusal(err error) bool {
	for _, says := range []string{"NOPERM", "no permissions", "Write commands are not allowed",
		"Can not execute a script with write flag", "user executing the script can't run this command"} {
		if strings.Contains(err.Error(), says) {
			return true
		}
	}
	return false
}

// dumps are all keys with their values.
func dumps(t *testing.T, c *goredis.Client) (all []string) {
	t.Helper()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	for _, key := range keys {
		value, err := c.Dump(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key, value)
	}
	return all
}

// Whoever may only read hears what is published.
func TestReadOnlyListens(t *testing.T) {
	t.Parallel()
	reader, writer := reading(t)
	heard := reader.Subscribe(t.Context(), "news")
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := writer.Publish(t.Context(), "news", "hello").Err(); err != nil {
		t.Fatal(err)
	}
	if m, err := heard.ReceiveMessage(t.Context()); err != nil || m.Payload != "hello" {
		t.Errorf("heard %v, %v", m, err)
	}
}

// TestReadOnlyMayRunNothingThatWrites holds what readers are given to what this server says
// of each command in them: one that a new version brings may be another kind.
func TestReadOnlyMayRunNothingThatWrites(t *testing.T) {
	t.Parallel()
	reader, writer := reading(t)
	names, err := writer.Do(t.Context(), "COMMAND", "LIST").StringSlice()
	if err != nil || len(names) < 200 {
		t.Fatalf("%d commands, %v", len(names), err)
	}
	commands, err := writer.Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range commands {
		if command.ReadOnly || !slices.Contains(command.Flags, "write") {
			continue
		}
		args := []any{name}
		for range max(int(command.Arity), -int(command.Arity)) - 1 {
			args = append(args, "1")
		}
		if err := reader.Do(t.Context(), args...).Err(); err == nil || !refusal(err) {
			t.Errorf("%s: %v, want it to be refused", name, err)
		}
	}
}
