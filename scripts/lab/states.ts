import { CONTROL, type LabHost, stateOf } from "./fleet.js";
import type { Hosts } from "./host/hosts.js";
import type { Machine } from "./host/machine.js";

const ETCD_PORT = 2379;
const POSTGRES_PORT = 5432;
const PREFIX = "/teleport";
/** Role and database alike. */
const POSTGRES_NAME = "teleport";
const POSTGRES_PASSWORD = "correct-horse";
/** On hosts whose auth keeps its state there: the role's password as libpq reads it. */
export const PASS_FILE = "/etc/teleport.pgpass";

/** Starts the root cluster's etcd on the control host. */
export async function startEtcd(control: Machine): Promise<void> {
  const client = `http://${control.address}:${ETCD_PORT}`;
  await control.must([
    ...["systemd-run", "--unit=lab-etcd", "--property=Restart=always", "--property=StateDirectory=lab-etcd"],
    ...["etcd", "--data-dir=/var/lib/lab-etcd", `--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
    ...["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync"],
  ]);
}

/** Starts a PostgreSQL on the control host, with an empty database for a leaf's auth; it is ready when this returns. */
export async function startPostgres(control: Machine): Promise<void> {
  const data = "/var/lib/lab-postgres/data";
  await control.shell(`
    bin=$(echo /usr/lib/postgresql/*/bin)
    install -d -o postgres -g postgres -m 700 /var/lib/lab-postgres
    echo ${POSTGRES_PASSWORD} >/root/postgres-password
    cd /
    runuser -u postgres -- $bin/initdb -D ${data} --no-sync -U ${POSTGRES_NAME} -A scram-sha-256 -E UTF8 --locale=C.UTF-8 \
      --pwfile=/dev/stdin </root/postgres-password
    echo "host all all samenet scram-sha-256" >>${data}/pg_hba.conf
    systemd-run --unit=lab-postgres --uid=postgres --property=Type=notify --property=Restart=always $bin/postgres -D ${data} \
      -p ${POSTGRES_PORT} -c listen_addresses=${control.address} -c unix_socket_directories= -c fsync=off
  `);
  await control.writeFile(PASS_FILE, passFileFor(control), 0o600);
  await askPostgres(control, `CREATE DATABASE ${POSTGRES_NAME}`, "postgres");
}

/** What `etcdctl` prints, on the control host. Throws when it fails. */
export function askEtcd(control: Machine, args: readonly string[]): Promise<string> {
  const endpoint = `--endpoints=http://${control.address}:${ETCD_PORT}`;
  return control.must(["env", "ETCDCTL_API=3", "etcdctl", endpoint, ...args]);
}

/** What `psql` prints for one statement, unadorned, on the control host. Throws when it fails. */
export async function askPostgres(control: Machine, sql: string, database = POSTGRES_NAME): Promise<string> {
  const target = connString(control.address, database);
  const psql = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", target, "-c", sql];
  return (await control.must(["env", `PGPASSFILE=${PASS_FILE}`, ...psql])).trimEnd();
}

/** The section `storage` of an auth's teleport.yaml. */
export function storageFor(host: LabHost, hosts: Hosts): object {
  const { address } = hosts.machine(CONTROL);
  switch (stateOf(host)) {
    case "etcd":
      return { type: "etcd", peers: [`http://${address}:${ETCD_PORT}`], prefix: PREFIX };
    case "postgresql":
      return { type: "postgresql", conn_string: connString(address, POSTGRES_NAME) };
    case "sqlite":
      return { type: "sqlite" };
  }
}

/** The same state as agent.yaml's `backends` describes one; null: the agent needs to be told nothing. */
export function backendFor(host: LabHost, hosts: Hosts): object | null {
  if (host.role !== "auth") return null;
  const { address } = hosts.machine(CONTROL);
  switch (stateOf(host)) {
    case "etcd":
      return { kind: "etcd", endpoints: [`http://${address}:${ETCD_PORT}`], prefix: PREFIX };
    case "postgresql":
      return {
        ...{ kind: "postgres", host: address, port: POSTGRES_PORT },
        ...{ database: POSTGRES_NAME, user: POSTGRES_NAME, passFile: PASS_FILE },
      };
    case "sqlite":
      return null;
  }
}

/** What PASS_FILE holds on any host. */
export function passFileFor(control: Machine): string {
  return `${control.address}:${POSTGRES_PORT}:*:${POSTGRES_NAME}:${POSTGRES_PASSWORD}\n`;
}

function connString(address: string, database: string): string {
  return `postgresql://${POSTGRES_NAME}@${address}:${POSTGRES_PORT}/${database}`;
}
