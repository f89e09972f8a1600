import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { flipBit } from "./damage.js";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test(
  "a backup that changed on the disk is found out when it is read back (I4)",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "node-1": ["node"] },
      version: "5.4.2",
      releases: [{ version: "6.0.0" }],
    });
    const { api } = scene;
    const run = await scene.start("6.0.0");
    const view = await scene.leadToGate(run, "hop-1.main.auth");
    t.match(
      view.gate?.evidence?.backups.map(({ host, verified }) => ({ host, verified })),
      [
        { host: "auth-1", verified: true },
        { host: "node-1", verified: true },
      ],
      "the gate shows verified backups",
    );
    const [backup] = await api.backups(run, "auth-1");
    if (backup === undefined) throw new TypeError("auth-1 was backed up");
    t.match(await api.verifyBackup("auth-1", backup.backup), { backup: backup.backup, sha256: backup.sha256 });

    const verifiedAt = async () => (await api.backups(run, "auth-1"))[0]?.verifiedAt;

    const folder = join(scene.host("auth-1").vars.backups ?? "", backup.backup);
    // In a text only the digest tells; a database has its own structure besides.
    for (const [end, at] of [
      ["-teleport.yaml", 20],
      ["-sqlite.db", 8192],
    ] as const) {
      const name = (await readdir(folder)).find((file) => file.endsWith(end)) ?? "";
      await flipBit(join(folder, name), at);
      await t.rejects(api.verifyBackup("auth-1", backup.backup), { code: "backup-corrupt", message: new RegExp(name) });
      t.equal(await verifiedAt(), null, "the word that it is whole is taken back");
      await flipBit(join(folder, name), at);
      t.match(await api.verifyBackup("auth-1", backup.backup), { sha256: backup.sha256 }, "whole again");
      t.ok(await verifiedAt());
    }

    await rename(folder, `${folder}-lost`);
    t.equal(await refusalOf(api.verifyBackup("auth-1", backup.backup)), "backup-missing");
    t.equal(await verifiedAt(), null);
    await rename(`${folder}-lost`, folder);
    await api.verifyBackup("auth-1", backup.backup);
    t.ok(await verifiedAt());

    // Another backup of the same name, whole in itself.
    const manifest = join(folder, "manifest.json");
    const text = await readFile(manifest, "utf8");
    await writeFile(manifest, `${text} `);
    t.equal(await refusalOf(api.verifyBackup("auth-1", backup.backup)), "backup-differs");
    t.equal(await verifiedAt(), null);
    await writeFile(manifest, text);
    await api.verifyBackup("auth-1", backup.backup);

    await flipBit(join(folder, "manifest.json"), 20);
    t.match(
      await refusalOf(api.verifyBackup("auth-1", backup.backup)),
      /^backup-(corrupt|differs)$/,
      "its manifest, too",
    );
    t.equal(await refusalOf(api.verifyBackup("auth-1", "no-such")), "backup-unknown");
    t.equal(
      await refusalOf(api.verifyBackup("node-1", backup.backup)),
      "backup-unknown",
      "another host's is not its own",
    );
  },
);
