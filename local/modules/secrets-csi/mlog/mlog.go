// Package mlog is what the driver uses of monis.app/mlog, a module that not every proxy hands out: klog, as its
// flags say.
package mlog

import (
	"context"

	"k8s.io/klog/v2"
)

type LogFormat string

const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

func Setup() func() { return klog.Flush }

func Fatal(err error) { klog.Fatal(err) }

func Error(message string, err error) { klog.ErrorS(err, message) }

func ValidateAndSetKlogLevelAndFormatGlobally(context.Context, klog.Level, LogFormat) error {
	return nil
}
