// Echoes its event and what the context says; fails when the event asks for it.
package main

import (
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func handle(ctx context.Context, event map[string]any) (any, error) {
	switch event["do"] {
	case "context":
		about, _ := lambdacontext.FromContext(ctx)
		_, hasDeadline := ctx.Deadline()
		return map[string]any{
			"request_id":           about.AwsRequestID,
			"function_name":        lambdacontext.FunctionName,
			"invoked_function_arn": about.InvokedFunctionArn,
			"has_deadline":         hasDeadline,
		}, nil
	case "fail":
		return nil, errors.New("on purpose")
	}
	return event, nil
}

func main() {
	lambda.Start(handle)
}
