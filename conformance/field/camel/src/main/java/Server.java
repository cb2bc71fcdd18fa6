import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.zaxxer.hikari.HikariDataSource;
import java.net.URI;
import java.util.List;
import java.util.Map;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.Main;
import org.apache.camel.processor.idempotent.jdbc.JdbcMessageIdRepository;
import org.springframework.jdbc.core.JdbcTemplate;

/** A route with the EIP "Idempotent Consumer" of Apache Camel and its JDBC repository, as its documentation shows them. */
public class Server extends RouteBuilder {
    private final ObjectMapper json = new ObjectMapper();
    private final HikariDataSource source = new HikariDataSource();
    private final JdbcTemplate sql;

    Server(URI database) {
        String[] user = database.getUserInfo().split(":");
        source.setJdbcUrl("jdbc:postgresql://" + database.getHost() + ":" + database.getPort() + database.getPath());
        source.setUsername(user[0]);
        source.setPassword(user[1]);
        source.setMaximumPoolSize(20);
        sql = new JdbcTemplate(source);
    }

    public static void main(String[] args) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(new Server(URI.create(System.getenv("DATABASE_URL"))));
        main.run();
    }

    @Override
    public void configure() {
        String charges = "undertow:http://127.0.0.1:" + System.getenv("PORT") + "/charges?httpMethodRestrict=";
        from(charges + "POST")
            .convertBodyTo(String.class)
            .idempotentConsumer(header("Idempotency-Key"), new JdbcMessageIdRepository(source, "charges"))
            .process(this::create);
        from(charges + "GET").process(this::list);
    }

    private void create(Exchange exchange) throws Exception {
        JsonNode charge = json.readTree(exchange.getMessage().getBody(String.class));
        long amount = charge.path("amount").asLong();
        String currency = charge.path("currency").asText();
        if (amount <= 0) {
            reply(exchange, 400, Map.of("error", "amount must be a positive integer"));
            return;
        }
        if (charge.path("source").asText().equals("tok_chargeDeclined")) {
            reply(exchange, 402, Map.of("error", "card_declined"));
            return;
        }
        Thread.sleep(charge.path("before_ms").asLong());
        String insert = "INSERT INTO charges (amount, currency) VALUES (?, ?) RETURNING id";
        Long id = sql.queryForObject(insert, Long.class, amount, currency);
        Thread.sleep(charge.path("after_ms").asLong());
        reply(exchange, 201, Map.of("id", id, "amount", amount, "currency", currency));
    }

    private void list(Exchange exchange) throws Exception {
        List<Long> ids = sql.queryForList("SELECT id FROM charges ORDER BY id DESC", Long.class);
        reply(exchange, 200, Map.of("count", ids.size(), "data", ids));
    }

    private void reply(Exchange exchange, int status, Object body) throws Exception {
        exchange.getMessage().setHeader(Exchange.HTTP_RESPONSE_CODE, status);
        exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
        exchange.getMessage().setBody(json.writeValueAsString(body));
    }
}
