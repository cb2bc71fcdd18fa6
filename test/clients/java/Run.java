import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.resilience4j.retry.Retry;
import java.io.File;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;

/** Runs the jobs of a file, all at the same time, and writes their results to another file. */
public class Run {
    /** resilience4j with its retry as it comes: only the key and a timeout are set. docs/clients.md says where that is not enough. */
    static JsonNode chargeByDefault(String url, String key, String body, Duration timeout) throws Throwable {
        var request = HttpRequest.newBuilder(URI.create(url + "/charges"))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .timeout(timeout)
            .build();
        var response = Retry.ofDefaults("default").executeCheckedSupplier(() -> Charges.CLIENT.send(request, BodyHandlers.ofString()));
        return Charges.JSON.readTree(response.body());
    }

    static JsonNode run(JsonNode job) {
        ObjectNode result = Charges.JSON.createObjectNode().put("key", job.get("key").asText());
        String url = job.get("url").asText(), key = job.get("key").asText(), body = job.get("body").toString();
        Duration timeout = Duration.ofMillis(job.get("timeout_ms").asLong());
        try {
            var isDefault = job.get("kind").asText().equals("default");
            return result.set("reply", isDefault ? chargeByDefault(url, key, body, timeout) : Charges.charge(url, key, body, timeout));
        } catch (Throwable error) {
            return result.put("error", error.toString());
        }
    }

    public static void main(String[] args) throws Exception {
        var jobs = new ArrayList<Callable<JsonNode>>();
        for (JsonNode job : Charges.JSON.readTree(new File(args[0]))) jobs.add(() -> run(job));
        var pool = Executors.newFixedThreadPool(jobs.size());
        var results = Charges.JSON.createArrayNode();
        for (var result : pool.invokeAll(jobs)) results.add(result.get());
        pool.shutdown();
        Charges.JSON.writeValue(new File(args[1]), results);
    }
}
