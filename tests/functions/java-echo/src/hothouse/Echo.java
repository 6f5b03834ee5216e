package hothouse;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Map;

/** Echoes its event and what the context says; fails when the event asks for it. */
public class Echo implements RequestHandler<Map<String, Object>, Object> {
    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        Object action = event.get("do");
        if ("context".equals(action)) {
            return Map.of(
                    "request_id", context.getAwsRequestId(),
                    "function_name", context.getFunctionName(),
                    "invoked_function_arn", context.getInvokedFunctionArn(),
                    "has_deadline", context.getRemainingTimeInMillis() > 0);
        }
        if ("fail".equals(action)) {
            throw new IllegalStateException("on purpose");
        }
        return event;
    }
}
