import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startKafka } from '../../harness/brokers/kafka.js';
import { startRabbitMq } from '../../harness/brokers/rabbitmq.js';
import { runTool } from '../../harness/processes.js';

/** Runs the contract of the message bus against a real RabbitMQ and a real Kafka. The tests themselves listen on Kafka's client port. */
async function main(): Promise<number> {
  const [rabbitMq, kafka] = await Promise.all([startRabbitMq(), startKafka()]);
  try {
    const env = {
      ...process.env,
      TEST_AMQP_URL: `amqp://guest:guest@127.0.0.1:${rabbitMq.port}`,
      TEST_KAFKA_BROKERS: `127.0.0.1:${kafka.clientPort}`,
      TEST_KAFKA_LISTENER: `127.0.0.1:${kafka.port}`,
    };
    // --forceExit, because the Kafka client may keep retrying a request after the tests have ended, and would keep the process alive.
    const args = ['test', '--', 'message-bus', '--forceExit', ...process.argv.slice(2)];
    // In a process group of its own, because the tests do not end with npm.
    const tests = spawn('npm', args, { env, stdio: 'inherit', detached: true });
    const kill = () => tests.pid && process.kill(-tests.pid, 'SIGKILL');
    process.once('exit', kill);
    const [code] = (await once(tests, 'exit')) as [number | null];
    process.off('exit', kill);
    return code ?? 1;
  } finally {
    await Promise.all([rabbitMq.stop(), kafka.stop()]);
  }
}

await runTool(main);
