package front

import "github.com/FerretDB/wire/wirebson"

// These are of what FerretDB makes an ordinary collection of, and says that it has made it: a view would be
// empty, and a capped collection grow for ever.
var (
	errNoViews      = newNoSuchKind("views")
	errNoCapped     = newNoSuchKind("capped collections")
	errNoTimeSeries = newNoSuchKind("time series collections")
)

func newNoSuchKind(what string) *refusal {
	return &refusal{code: errTransaction.code, name: errTransaction.name, goesOn: true,
		sentence: "There are no " + what + " here. Nothing was made."}
}

// refusesToMake returns why a command is refused that would make another collection than it asks for; nil if it is not.
func refusesToMake(command *wirebson.Document) *refusal {
	switch {
	case command.Command() != "create":
		return nil
	case command.Get("viewOn") != nil:
		return errNoViews
	case command.Get("timeseries") != nil:
		return errNoTimeSeries
	case isTrue(command.Get("capped")):
		return errNoCapped
	}
	return nil
}

// isTrue tells whether a value is what MongoDB takes for true where it asks for that: a number may stand for it.
func isTrue(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case int32:
		return v != 0
	case int64:
		return v != 0
	case float64:
		return v != 0
	}
	return false
}
