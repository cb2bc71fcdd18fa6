import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { portToKeep } from '../free-port.js';
import { Program } from '../processes.js';
import { Broker, need } from './broker.js';

const run = promisify(execFile);

/** The quick compiler and the small garbage collector, because a broker of a test starts often and runs for a few minutes. */
const JVM = ['-Xmx512m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

/** Downloads Kafka with its dependencies, unless Maven has them already. Returns the class path. */
async function classPath(directory: string): Promise<string> {
  const file = join(directory, 'classpath');
  const goal = ['dependency:build-classpath', '-DincludeScope=runtime', `-Dmdep.outputFile=${file}`];
  // Java reads the home directory, where Maven keeps its downloads, from the user database and ignores HOME.
  const MAVEN_OPTS = `${process.env['MAVEN_OPTS'] ?? ''} -Duser.home=${homedir()}`;
  await run('mvn', ['--batch-mode', '--quiet', '-f', resolve('harness/brokers/pom.xml'), ...goal], {
    env: { ...process.env, MAVEN_OPTS },
  });
  return readFileSync(file, 'utf8');
}

/**
 * Starts a Kafka, with Debian's packages of Maven and Java.
 *
 * A Kafka client connects to the address that the broker advertises, even if the client was given another address. This broker advertises
 * the client port, so that a proxy on this port can cut the connections. Without a proxy, no client can connect.
 */
export async function startKafka(): Promise<Broker> {
  need('java', 'default-jre-headless');
  need('mvn', 'maven');
  const [port, client, controller] = [await portToKeep(), await portToKeep(), await portToKeep()];
  return Broker.start([port, client], async (directory) => {
    const [properties, jvm] = [join(directory, 'kafka.properties'), [...JVM, '-cp', await classPath(directory)]];
    writeFileSync(properties, propertiesOf({ port, client, controller }, directory));
    // The cluster id may be any 16 bytes in base64.
    const id = ['--cluster-id', 'AAAAAAAAAAAAAAAAAAAAAQ'];
    await run('java', [...jvm, 'kafka.tools.StorageTool', 'format', ...id, '--config', properties]);
    return {
      run: () => Program.run('java', { name: 'Kafka', args: [...jvm, 'kafka.Kafka', properties] }),
      ready: /Kafka Server started/,
    };
  });
}

const propertiesOf = (ports: { port: number; client: number; controller: number }, directory: string) => `
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports.controller}
controller.listener.names=CONTROLLER
listeners=CLIENTS://127.0.0.1:${ports.port},CONTROLLER://127.0.0.1:${ports.controller}
advertised.listeners=CLIENTS://127.0.0.1:${ports.client}
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=${join(directory, 'data')}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# After a kill, the new process waits until the session of the old one has expired. The default is 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# A new consumer group does not wait for further members, because the tests start none.
group.initial.rebalance.delay.ms=0
`;
