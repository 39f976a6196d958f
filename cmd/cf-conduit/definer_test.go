package main

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// dumped are statements as mysqldump and people write them, and what becomes of them.
var dumped = []struct{ name, from, to string }{
	{"plain", "SELECT 1;", "SELECT 1;"},
	{"MariaDB's view", "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`u1`@`%` SQL SECURITY DEFINER */\n" +
		"/*!50001 VIEW `v` AS select 1 */;\n", "/*!50001 CREATE ALGORITHM=UNDEFINED */\n" +
		"/*!50013 DEFINER=CURRENT_USER SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 */;\n"},
	{"trigger", "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER tr " +
		"AFTER INSERT ON t FOR EACH ROW BEGIN SET @x = 1; END */;;\nDELIMITER ;\nCREATE DEFINER=`a`@`b` VIEW v AS SELECT 1;",
		"DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=CURRENT_USER*/ /*!50003 TRIGGER tr " +
			"AFTER INSERT ON t FOR EACH ROW BEGIN SET @x = 1; END */;;\nDELIMITER ;\n" +
			"CREATE DEFINER=CURRENT_USER VIEW v AS SELECT 1;"},
	{"sandbox", "/*M!999999\\- enable the sandbox mode */ \n-- It's a dump\n\n/*!40101 SET NAMES utf8mb4 */;\n" +
		"CREATE DEFINER='o''x'@\"%\" PROCEDURE p() SELECT 1;",
		"/*M!999999\\- enable the sandbox mode */ \n-- It's a dump\n\n" +
			"/*!40101 SET NAMES utf8mb4 */;\nCREATE DEFINER=CURRENT_USER PROCEDURE p() SELECT 1;"},
	{"by hand", "create or replace\n definer = me @ localhost view v as select 1;alter definer=x event e enable;",
		"create or replace\n definer = CURRENT_USER view v as select 1;alter definer=CURRENT_USER event e enable;"},
	{"own already",
		"CREATE DEFINER=CURRENT_USER VIEW v AS SELECT 1; CREATE DEFINER=CURRENT_USER() VIEW v AS SELECT 1;",
		"CREATE DEFINER=CURRENT_USER VIEW v AS SELECT 1; CREATE DEFINER=CURRENT_USER() VIEW v AS SELECT 1;"},
	{"data",
		"INSERT INTO t VALUES ('it\\'s; CREATE DEFINER=`a`@`b` VIEW v', \"x;\", 'a''; CREATE DEFINER=a VIEW v');", ""},
	{"names", "SELECT `;CREATE DEFINER=a VIEW v` FROM t WHERE DEFINER='a@b' AND 1 - 1;", ""},
	{"comments", "# it's\nSELECT 1 -- it's; CREATE DEFINER=a VIEW v\n/* ;CREATE DEFINER=a VIEW v */ /*My ;*/;", ""},
	{"within a body",
		"DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; CREATE DEFINER=a VIEW v AS SELECT 1; END//\n", ""},
	{"no end", "CREATE", ""}, {"only white space", " \n\t", ""}, {"nothing", "", ""}, {"broken", "/*", ""},
	{"odd", "DELIMITER", ""},
	{"no delimiter", "DELIMITER\nCREATE DEFINER=0 00", "DELIMITER\nCREATE DEFINER=CURRENT_USER 00"},
	{"division", "SELECT 2*/*it's*/3, 4/2;CREATE TABLE definers (a int);", ""},
}

func TestDefinersAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, tc := range dumped {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := tc.to
			if want == "" {
				want = tc.from
			}
			for _, in := range []io.Reader{strings.NewReader(tc.from), iotest.OneByteReader(strings.NewReader(tc.from))} {
				var out strings.Builder
				taken, err := copyTakingOver(&out, in)
				more := strings.Count(want, "CURRENT_USER") - strings.Count(tc.from, "CURRENT_USER")
				if err != nil || out.String() != want || taken != more {
					t.Errorf("%q became\n%q (%d, %v), want\n%q", tc.from, out.String(), taken, err, want)
				}
			}
		})
	}
}

// A statement is passed on before the next one comes.
func TestTakingOverHoldsNothingBack(t *testing.T) {
	t.Parallel()
	in, write := io.Pipe()
	read, out := io.Pipe()
	go copyTakingOver(out, in)
	said := make([]byte, 64)
	for _, statement := range []string{"SELECT 1;", "\nDELIMITER ;;\n",
		"CREATE DEFINER=CURRENT_USER VIEW v AS SELECT 1;;\n"} {
		go write.Write([]byte(statement))
		got := ""
		timer := time.AfterFunc(10*time.Second, func() { read.CloseWithError(io.ErrNoProgress) })
		for got != statement {
			n, err := read.Read(said)
			if got += string(said[:n]); err != nil {
				t.Fatalf("%q: %q, %v", statement, got, err)
			}
		}
		timer.Stop()
	}
}

// FuzzTakingOver: what names no definer stays as it is, however it comes.
func FuzzTakingOver(f *testing.F) {
	for _, tc := range dumped {
		f.Add(tc.from)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var whole, bytewise strings.Builder
		taken, err := copyTakingOver(&whole, strings.NewReader(text))
		if err != nil || taken == 0 && whole.String() != text {
			t.Errorf("%q became %q, %d, %v", text, whole.String(), taken, err)
		}
		if _, err := copyTakingOver(&bytewise, iotest.OneByteReader(strings.NewReader(text))); err != nil ||
			bytewise.String() != whole.String() {
			t.Errorf("%q became %q, and byte by byte %q, %v", text, whole.String(), bytewise.String(), err)
		}
	})
}

func TestExecutes(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{"-e x": true, "-Ne x": true, "--execute=x": true, "main": false,
		"-uele": false, "--verbose -N": false, "-N --execute x": true, "": false, "-vvv": false} {
		if got := executes(strings.Fields(args)); got != want {
			t.Errorf("%s: %t", args, got)
		}
	}
}

func BenchmarkTakingOver(b *testing.B) {
	row := "(1234,'it is a row of 60 bytes that comes from a dump',NULL),"
	text := "INSERT INTO t VALUES " + strings.Repeat(row, 20000) + "(1);\n"
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		copyTakingOver(io.Discard, strings.NewReader(text))
	}
}
