import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { readConfig } from "../support/standin/src/config.js";
import { parseYaml } from "../support/standin/src/yaml.js";

const SOURCE = `# a comment
teleport:
  nodename: auth-1   # another
  data_dir: "/var/lib/teleport"
  auth_servers:
    - 127.0.0.1:3025
    - 'https://127.0.0.1:3026'
  empty:
auth_service:
  enabled: yes
  cluster_name: main
  listen_addr: 127.0.0.1:3025
  trusted_root: [127.0.0.1:4025]
proxy_service: 
  enabled: false
`;

t.test("the small YAML reader reads what a YAML library reads", async (t) => {
  t.same(parseYaml(SOURCE), parse(SOURCE, { version: "1.1" }));
  t.equal(parseYaml("# nothing\n"), null);
});

t.test("what it doesn't know it refuses, with the line", async (t) => {
  t.throws(() => parseYaml("a:\n  b: |\n    text\n"), /line 2/);
  t.throws(() => parseYaml("a: {b: 1}"), /line 1/);
  t.throws(() => parseYaml("a: 1\nno colon\n"), /line 2/);
  t.throws(() => parseYaml("a: 1\n    b: 2\n"), /line 2/);
  t.throws(() => parseYaml("a: [1,\n"), /line 1/);
});

t.test("a config is checked, and errors name file and field", async (t) => {
  const file = join(t.testdir(), "teleport.yaml");
  const read = (source: string) => {
    writeFileSync(file, source);
    return readConfig(file);
  };
  t.match(read(SOURCE), {
    nodename: "auth-1",
    roles: ["auth"],
    authServers: [
      { host: "127.0.0.1", port: 3025 },
      { host: "127.0.0.1", port: 3026 },
    ],
    auth: {
      clusterName: "main",
      storage: { type: "sqlite", folder: "/var/lib/teleport/backend" },
      trustedRoot: [{ host: "127.0.0.1", port: 4025 }],
    },
    web: null,
  });
  t.throws(() => read("teleport:\n  nodename: x\n"), /teleport\.yaml: data_dir is missing/);
  t.throws(() => read("teleport:\n  nodename: x\n  data_dir: /d\n"), /no service is enabled/);
  t.throws(
    () => read("teleport:\n  nodename: x\n  data_dir: /d\nssh_service:\n  enabled: yes\n"),
    /auth_servers is missing/,
  );
  t.throws(() => read(SOURCE.replace("listen_addr: 127.0.0.1:3025", "listen_addr: here")), /"here" is not host:port/);
});

t.test("a state elsewhere is configured in Teleport's own words", async (t) => {
  const file = join(t.testdir(), "teleport.yaml");
  const storageOf = (storage: string) => {
    const lines = storage.split("; ").map((line) => `    ${line}\n`);
    writeFileSync(file, SOURCE.replace("  empty:\n", `  storage:\n${lines.join("")}`));
    return readConfig(file).auth?.storage;
  };
  t.same(storageOf('type: etcd; peers: ["http://10.0.0.1:2379", "http://10.0.0.2:2379"]; prefix: /here'), {
    type: "etcd",
    peers: ["http://10.0.0.1:2379", "http://10.0.0.2:2379"],
    prefix: "/here",
    tls: null,
  });
  const tls = "; tls_ca_file: /ca.pem; tls_cert_file: /cert.pem; tls_key_file: /key.pem";
  t.same(storageOf(`type: etcd; peers: [https://etcd:2379]${tls}`), {
    type: "etcd",
    peers: ["https://etcd:2379"],
    prefix: "/teleport",
    tls: { ca: "/ca.pem", cert: "/cert.pem", key: "/key.pem" },
  });
  t.same(storageOf("type: postgresql; conn_string: postgresql://teleport@10.0.0.1/state"), {
    type: "postgresql",
    connString: "postgresql://teleport@10.0.0.1/state",
  });
  t.throws(() => storageOf("type: etcd"), /peers is missing/);
  t.throws(() => storageOf("type: etcd; peers: [https://etcd:2379]"), /tls_ca_file is missing/);
  t.throws(() => storageOf("type: postgresql"), /conn_string is missing/);
  t.throws(() => storageOf("type: dynamodb"), /"dynamodb" is unknown/);
});
