package main

import "github.com/backstay/backstay/engine"

func engines() map[string]engine.Engine { return map[string]engine.Engine{} }
