import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.resilience4j.retry.Retry;
import io.github.resilience4j.retry.RetryConfig;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

public class Charges {
    record Reply(int status, JsonNode body, long pauseMs) {}

    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static final ObjectMapper JSON = new ObjectMapper();
    static final Retry RETRY = Retry.of("charges", RetryConfig.<Reply>custom()
        .maxAttempts(10)
        .retryExceptions(IOException.class)
        .retryOnResult(reply -> reply.status() >= 400 && reply.body().path("retryable").asBoolean(true))
        .intervalBiFunction((attempt, outcome) -> outcome.fold(error -> 1000L, Reply::pauseMs))
        .build());

    static Reply send(HttpRequest request) throws IOException, InterruptedException {
        var response = CLIENT.send(request, BodyHandlers.ofString());
        var pauseSeconds = response.headers().firstValueAsLong("Retry-After").orElse(1);
        return new Reply(response.statusCode(), JSON.readTree(response.body()), 1000 * pauseSeconds);
    }

    /** Sends a charge until the service gives a final answer. */
    static JsonNode charge(String url, String key, String body, Duration timeout) throws Throwable {
        var request = HttpRequest.newBuilder(URI.create(url + "/charges"))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .timeout(timeout)
            .build();
        return RETRY.executeCheckedSupplier(() -> send(request)).body();
    }
}
