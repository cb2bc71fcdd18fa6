#!/usr/bin/env bash
# Starts a RabbitMQ and a Kafka of its own on loopback, runs the contract of the message bus against both, and ends the
# processes that it has started, by their ids. They keep what they have in a directory that is deleted at the end.
# Needs Debian's rabbitmq-server and maven, and Java 17 or later.
set -euo pipefail
cd "$(dirname "$0")/../.."

need() { # a file or command, what has it
  [ -x "$1" ] || command -v "$1" > /dev/null || { echo "test:brokers needs $1: apt-get install $2" >&2; exit 1; }
}
# Not /usr/sbin/rabbitmq-server, which would be root or rabbitmq and start in its home.
rabbitmq=/usr/lib/rabbitmq/bin/rabbitmq-server
need "$rabbitmq" rabbitmq-server
need epmd rabbitmq-server
need java default-jre-headless
need mvn maven

work=$(mktemp -d)
pids=()
finish() {
  # The last started first: epmd serves RabbitMQ while that ends.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill -TERM "${pids[$i]}" 2> /dev/null || continue
    for _ in $(seq 100); do kill -0 "${pids[$i]}" 2> /dev/null || continue 2; sleep 0.1; done
    kill -KILL "${pids[$i]}" 2> /dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Ports that nobody has: asked for all at once, so that they differ.
read -r amqp dist epmd kafka advertised controller < <(node -e '
  const servers = Array.from({ length: 6 }, () => require("node:net").createServer().listen(0, "127.0.0.1"));
  Promise.all(servers.map((server) => require("node:events").once(server, "listening"))).then(() => {
    console.log(servers.map((server) => server.address().port).join(" "));
    servers.forEach((server) => server.close());
  });')

ready() { # name, process id, log, what it says when it accepts work
  for _ in $(seq 300); do
    if grep -q "$4" "$3"; then return; fi
    kill -0 "$2" 2> /dev/null || break
    sleep 0.2
  done
  echo "$1 has not started:" >&2
  tail -n 50 "$3" >&2
  exit 1
}

# A node of Erlang tells epmd its port; without one of ours it would leave a daemon behind.
export HOME="$work" ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1
