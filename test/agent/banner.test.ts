import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Banner, silentLogger, systemExec } from "@belay/agent";
import type { FactProbe } from "@belay/shared";
import t, { type Test } from "tap";

/** An installed version whose binary prints these words, and counts how often it was asked. */
async function install(t: Test, words: string): Promise<{ probe: FactProbe; asked: () => Promise<number> }> {
  const dir = await mkdtemp(join(tmpdir(), "belay-banner-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, "versions", "1.0.0"), { recursive: true });
  const program = join(dir, "versions", "1.0.0", "teleport");
  await writeFile(program, `#!/bin/sh\necho asked "$@" >> ${dir}/asked\n${words}\n`);
  await chmod(program, 0o755);
  await symlink(join(dir, "versions", "1.0.0"), join(dir, "current"));
  const probe: FactProbe = {
    service: "teleport",
    versionsDir: join(dir, "versions"),
    link: join(dir, "current"),
    version: [],
    checks: [],
    disks: [],
    banner: {
      program: join(dir, "current", "teleport"),
      editions: [{ says: "Teleport Enterprise", edition: "ent" }],
      fips: "boringcrypto",
    },
  };
  const asked = async () => (await readFile(join(dir, "asked"), "utf8").catch(() => "")).split("\n").length - 1;
  return { probe, asked };
}

const allowed = { program: async (file: string) => file };
const host = { exec: systemExec, log: silentLogger, allowed } as unknown as Parameters<Banner["buildOf"]>[2];

t.test("the installed binary says which build it is, so that an upgrade brings the same one", async (t) => {
  for (const [words, build] of [
    ["echo Teleport v6.2.1 git:v6.2.1 go1.16.2", { edition: "oss", fips: false }],
    ["echo Teleport Enterprise v17.0.0 git:v17.0.0 go1.23.6", { edition: "ent", fips: false }],
    ["echo 'Teleport Enterprise v17.0.0 git:v17.0.0 go1.23.6 X:boringcrypto'", { edition: "ent", fips: true }],
    ["exit 3", { edition: "oss", fips: false }],
  ] as const) {
    const { probe } = await install(t, words);
    t.same(await new Banner().buildOf(probe, "1.0.0", host), build, words);
  }
});

t.test("it is asked once for each version, and not at all where nothing is installed", async (t) => {
  const { probe, asked } = await install(t, "echo Teleport Enterprise");
  const banner = new Banner();
  t.same(await banner.buildOf(probe, null, host), { edition: "oss", fips: false });
  t.equal(await asked(), 0);
  await banner.buildOf(probe, "1.0.0", host);
  await banner.buildOf(probe, "1.0.0", host);
  t.equal(await asked(), 1);
  await banner.buildOf(probe, "2.0.0", host);
  t.equal(await asked(), 2);
});

t.test("nothing but the installed version's own binary is run", async (t) => {
  const { probe, asked } = await install(t, "echo Teleport Enterprise");
  for (const program of ["/bin/sh", `${probe.link}/../versions/1.0.0/teleport`]) {
    const other = { ...probe, banner: { ...probe.banner, program, editions: [], fips: "x" } };
    t.same(await new Banner().buildOf(other, "1.0.0", host), { edition: "oss", fips: false });
  }
  t.equal(await asked(), 0);
});
