#!/usr/bin/env bash
# Starts a RabbitMQ and a Kafka on loopback, runs the contract of the message bus against both brokers, and ends the processes that
# it has started, by their ids. The brokers keep their data in a temporary directory, which is deleted at the end.
# Needs Debian's rabbitmq-server and maven, and Java 17 or later.
set -euo pipefail
cd "$(dirname "$0")/../.."

need() { # a file or command, and the package that contains it
  [ -x "$1" ] || command -v "$1" > /dev/null || { echo "test:brokers needs $1: apt-get install $2" >&2; exit 1; }
}
# The script /usr/sbin/rabbitmq-server is not used, because it runs only as root or rabbitmq, and changes to the home of rabbitmq.
rabbitmq=/usr/lib/rabbitmq/bin/rabbitmq-server
need "$rabbitmq" rabbitmq-server
need epmd rabbitmq-server
need java default-jre-headless
need mvn maven

work=$(mktemp -d)
pids=()
finish() {
  # Ends the processes in reverse order, because RabbitMQ needs epmd until RabbitMQ has ended.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${pids[$i]}" 2> /dev/null || continue
    for _ in $(seq 100); do kill -0 "${pids[$i]}" 2> /dev/null || continue 2; sleep 0.1; done
    kill -KILL "${pids[$i]}" 2> /dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Six free ports. All six are open at the same time, so that they are different.
read -r amqp dist epmd kafka advertised controller < <(node -e '
  const servers = Array.from({ length: 6 }, () => require("node:net").createServer().listen(0, "127.0.0.1"));
  Promise.all(servers.map((server) => require("node:events").once(server, "listening"))).then(() => {
    console.log(servers.map((server) => server.address().port).join(" "));
    servers.forEach((server) => server.close());
  });')

ready() { # name, process id, log, and the text that the log contains as soon as the broker accepts connections
  for _ in $(seq 300); do
    if grep -q "$4" "$3"; then return; fi
    kill -0 "$2" 2> /dev/null || break
    sleep 0.2
  done
  echo "$1 has not started:" >&2
  tail -n 50 "$3" >&2
  exit 1
}

# An Erlang node registers its port at epmd. Without an epmd of this script, the node would start a daemon that outlives the script.
erlang=(env HOME="$work" ERL_EPMD_PORT="$epmd" ERL_EPMD_ADDRESS=127.0.0.1)
"${erlang[@]}" epmd &
pids+=($!)

# With these two settings, the start script replaces itself by the server with exec, so the process id below is the id of the server.
"${erlang[@]}" \
  RABBITMQ_NODENAME=test@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp" RABBITMQ_DIST_PORT="$dist" \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
  RABBITMQ_BASE="$work" RABBITMQ_MNESIA_BASE="$work/rabbitmq" RABBITMQ_LOG_BASE="$work" RABBITMQ_LOGS=- \
  RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$work/none" RABBITMQ_ENABLED_PLUGINS_FILE="$work/plugins" \
  RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_START_ARGS=-noinput \
  "$rabbitmq" > "$work/rabbitmq.log" 2>&1 &
pids+=($!)

# Java reads the home directory from the user database and ignores HOME. Maven keeps its downloads in the home directory, so it is set here.
export MAVEN_OPTS="${MAVEN_OPTS:-} -Duser.home=$HOME"
mvn --batch-mode --quiet -f test/brokers/pom.xml dependency:build-classpath -DincludeScope=runtime \
  -Dmdep.outputFile="$work/classpath"
# A Kafka client connects to the advertised address, also if it was given another address. The tests put a proxy at the advertised address, so
# that they can cut the connections.
cat > "$work/kafka.properties" << END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=CLIENTS://127.0.0.1:$kafka,CONTROLLER://127.0.0.1:$controller
advertised.listeners=CLIENTS://127.0.0.1:$advertised
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$work/kafka
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# A new consumer group does not wait for further members, because the tests start none.
group.initial.rebalance.delay.ms=0
END
jvm=(java -Xmx512m -cp "$(cat "$work/classpath")")
# The cluster id may be any 16 bytes in base64.
"${jvm[@]}" kafka.tools.StorageTool format --cluster-id AAAAAAAAAAAAAAAAAAAAAQ --config "$work/kafka.properties" > "$work/format.log" 2>&1 ||
  { cat "$work/format.log" >&2; exit 1; }
"${jvm[@]}" kafka.Kafka "$work/kafka.properties" > "$work/kafka.log" 2>&1 &
pids+=($!)

ready RabbitMQ "${pids[1]}" "$work/rabbitmq.log" 'Server startup complete'
ready Kafka "${pids[2]}" "$work/kafka.log" 'Kafka Server started'
echo "RabbitMQ and Kafka are up after $SECONDS s"

# --forceExit, because the Kafka client may keep retrying a request after the tests have ended, and would keep the process alive.
TEST_AMQP_URL="amqp://guest:guest@127.0.0.1:$amqp" \
  TEST_KAFKA_BROKERS="127.0.0.1:$advertised" TEST_KAFKA_LISTENER="127.0.0.1:$kafka" npm test -- message-bus --forceExit "$@"
