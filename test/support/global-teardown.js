const BROKERS = { RabbitMQ: 'TEST_AMQP_URL', Kafka: 'TEST_KAFKA_BROKERS' };

export default async ({ testPathPatterns }) => {
  await globalThis.stopTestPostgres();
  // Printed below the summary, so that readers do not overlook it.
  if (testPathPatterns.isSet() && !testPathPatterns.patterns.some((pattern) => 'message-bus'.includes(pattern))) return;
  for (const [broker, setting] of Object.entries(BROKERS)) {
    if (process.env[setting]) continue;
    process.stderr.write(
      `The contract of the message bus was not tested with ${broker}, since ${setting} is not set: npm run test:brokers starts it.\n`,
    );
  }
};
