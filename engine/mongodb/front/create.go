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
	case command.Get("capped") == true:
		return errNoCapped
	}
	return nil
}
