import { join } from 'node:path';
import { portToKeep } from '../free-port.js';
import { Program } from '../processes.js';
import { Broker, need } from './broker.js';

/** Not /usr/sbin/rabbitmq-server, because this script runs only as root or rabbitmq, and changes to the home of rabbitmq. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/** Starts a RabbitMQ, from Debian's package rabbitmq-server. The user is guest with the password guest. */
export async function startRabbitMq(): Promise<Broker> {
  need(SERVER, 'rabbitmq-server');
  need('epmd', 'rabbitmq-server');
  const [amqp, client, distribution, epmd] = [
    await portToKeep(),
    await portToKeep(),
    await portToKeep(),
    await portToKeep(),
  ];
  return Broker.start([amqp, client], (directory) => {
    const erlang = { HOME: directory, ERL_EPMD_PORT: String(epmd), ERL_EPMD_ADDRESS: '127.0.0.1' };
    const settings = {
      RABBITMQ_NODENAME: 'test@localhost',
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(amqp),
      RABBITMQ_DIST_PORT: String(distribution),
      // Idle schedulers sleep instead of spinning, because the replicas need the same cores.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none',
      RABBITMQ_BASE: directory,
      RABBITMQ_MNESIA_BASE: join(directory, 'data'),
      RABBITMQ_LOG_BASE: directory,
      RABBITMQ_LOGS: '-',
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: join(directory, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'plugins'),
      // With these two settings, the script replaces itself by the server with exec, so that a signal reaches the server.
      RABBITMQ_ALLOW_INPUT: '1',
      RABBITMQ_SERVER_START_ARGS: '-noinput',
    };
    return Promise.resolve({
      // An Erlang node registers its port at epmd. Without this epmd, the node would start a daemon that outlives it.
      companions: [Program.run('epmd', { env: erlang })],
      run: () => Program.run(SERVER, { name: 'RabbitMQ', env: { ...erlang, ...settings } }),
      ready: /Server startup complete/,
    });
  });
}
