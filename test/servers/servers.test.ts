import t from "tap";
import { EtcdServer, whyNoEtcd } from "../support/servers/etcd.js";
import { PostgresServer, whyNoPostgres } from "../support/servers/postgres.js";

t.test("etcd keeps what it was told over a kill, and dies with its owner", { skip: whyNoEtcd() }, async (t) => {
  let pid = 0;
  await t.test("while it is owned", async (t) => {
    const etcd = await EtcdServer.start(t);
    await etcd.ctl("put", "/teleport/version", "5.4.2");
    await etcd.kill();
    t.equal(etcd.pid, null);
    await etcd.start();
    t.equal(await etcd.ctl("get", "--print-value-only", "/teleport/version"), "5.4.2\n");
    pid = etcd.pid ?? 0;
  });
  t.throws(() => process.kill(pid, 0), { code: "ESRCH" });
});

t.test(
  "PostgreSQL takes its role's password from a file, and dies with its owner",
  { skip: whyNoPostgres() },
  async (t) => {
    let pid = 0;
    await t.test("while it is owned", async (t) => {
      const postgres = await PostgresServer.start(t);
      await postgres.sql("CREATE TABLE meta (version text)");
      await postgres.sql("INSERT INTO meta VALUES ('5.4.2')");
      await postgres.stop();
      t.equal(postgres.pid, null);
      await postgres.start();
      t.equal(await postgres.sql("SELECT version FROM meta"), "5.4.2");
      pid = postgres.pid ?? 0;
    });
    t.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  },
);
