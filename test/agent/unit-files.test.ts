import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { definitionOf } from "@belay/agent";
import t, { type Test } from "tap";

/** Three of systemd's folders, the first of which wins. */
function folders(t: Test) {
  const root = mkdtempSync(join(tmpdir(), "belay-units-"));
  t.teardown(() => rmSync(root, { recursive: true }));
  const names = ["etc", "run", "lib"].map((name) => join(root, name));
  return {
    root,
    put(file: string, text: string): void {
      // Later than the one before, by the kernel's coarse clock.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 12);
      const path = join(root, file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    },
    remove: (file: string) => rmSync(join(root, file)),
    look: async (unit = "teleport.service") => definitionOf(unit, join(root, "opt/versions"), names),
    digest: async (unit = "teleport.service") => (await definitionOf(unit, join(root, "opt/versions"), names))?.sha256,
  };
}

t.test("a unit is its own file and its drop-ins, and says which was changed last", async (t) => {
  const { root, put, remove, look, digest } = folders(t);
  t.equal(await look(), null, "no file defines it");
  put("lib/teleport.service", "[Service]\nExecStart=/a\n");
  const first = await look();
  t.match(first, { sha256: /^[0-9a-f]{64}$/, newest: join(root, "lib/teleport.service") });
  t.same(first?.files, [join(root, "lib/teleport.service")]);
  t.same(await look("teleport"), first, "a name without a suffix is a service's");

  put("etc/teleport.service.d/50-limits.conf", "[Service]\nLimitNOFILE=1\n");
  const limited = await look();
  t.not(limited?.sha256, first?.sha256, "a drop-in that systemd has not read yet");
  t.equal(limited?.newest, join(root, "etc/teleport.service.d/50-limits.conf"));
  put("etc/teleport.service.d/README", "no drop-in");
  t.equal(await digest(), limited?.sha256, "nor is what has another suffix");
  put("lib/teleport.service.d/50-limits.conf", "[Service]\nLimitNOFILE=2\n");
  t.equal(await digest(), limited?.sha256, "a drop-in of the same name in an earlier folder wins");

  put("lib/teleport.service", "[Service]\nExecStart=/b\n");
  const changed = await digest();
  t.not(changed, limited?.sha256, "its own file");
  put("lib/teleport.service", "[Service]\nExecStart=/a\n");
  t.equal(await digest(), limited?.sha256, "and back");
  put("etc/teleport.service", "[Service]\nExecStart=/a\n");
  t.equal(await digest(), limited?.sha256, "the same, from another folder");
  put("etc/teleport.service", "[Service]\nExecStart=/c\n");
  t.not(await digest(), limited?.sha256, "the earlier folder wins");
  remove("etc/teleport.service");
  remove("etc/teleport.service.d/50-limits.conf");
  put("lib/teleport.service.d/50-limits.conf", "");
  t.not(await digest(), first?.sha256, "an empty drop-in is one, too");
});

t.test("drop-ins of a type, of prefixes, templates and aliases count as well", async (t) => {
  const { root, put, digest } = folders(t);
  put("lib/tele-port-x.service", "[Service]\n");
  put("lib/teleport@.service", "[Service]\n");
  mkdirSync(join(root, "etc"));
  symlinkSync(join(root, "lib/tele-port-x.service"), join(root, "etc/gate.service"));
  const reaches = async (unit: string, drop: string) => {
    const before = await digest(unit);
    put(drop, `[Service]\n# ${drop}\n`);
    t.not(await digest(unit), before, `${drop} is part of ${unit}`);
  };
  await reaches("tele-port-x.service", "run/service.d/1.conf");
  await reaches("tele-port-x.service", "run/tele-port-.service.d/2.conf");
  await reaches("tele-port-x.service", "run/tele-.service.d/3.conf");
  await reaches("teleport@east.service", "etc/teleport@.service.d/4.conf");
  await reaches("teleport@east.service", "etc/teleport@east.service.d/5.conf");
  await reaches("gate.service", "etc/tele-port-x.service.d/6.conf");
  await reaches("gate.service", "etc/gate.service.d/7.conf");
  const others = await digest("teleport@west.service");
  put("etc/teleport@east.service.d/5.conf", "changed");
  put("etc/gate.service.d/7.conf", "changed");
  t.equal(await digest("teleport@west.service"), others, "another's are no part of it");
});

t.test("a masked unit, a link to nowhere and contents that look like names", async (t) => {
  const { root, put, look, digest } = folders(t);
  put("lib/teleport.service", "[Service]\n");
  const plain = await digest();
  mkdirSync(join(root, "etc/teleport.service.d"), { recursive: true });
  symlinkSync("/dev/null", join(root, "etc/teleport.service"));
  t.not(await digest(), plain, "masked");
  symlinkSync(join(root, "nowhere"), join(root, "etc/teleport.service.d/a.conf"));
  const whole = await look();
  t.ok(whole, "a drop-in that leads nowhere is an empty one");
  put("etc/teleport.service.d/b.conf", '["c.conf",1]x');
  const one = await digest();
  put("etc/teleport.service.d/b.conf", "");
  put("etc/teleport.service.d/c.conf", "x");
  t.not(await digest(), one, "what a file holds never passes for another file");
});

t.test("a unit that lies in a version's folder is the version's, whatever the next one brings", async (t) => {
  const { root, put, digest } = folders(t);
  put("data/versions/1.0.0/teleport.service", "[Service]\nExecStart=/a\n");
  put("data/versions/2.0.0/teleport.service", "[Service]\nExecStart=/b\n");
  mkdirSync(join(root, "etc"));
  symlinkSync("data", join(root, "opt"));
  symlinkSync("1.0.0", join(root, "opt/versions/current"));
  symlinkSync(join(root, "opt/versions/current/teleport.service"), join(root, "etc/teleport.service"));
  const before = await digest();
  rmSync(join(root, "opt/versions/current"));
  symlinkSync("2.0.0", join(root, "opt/versions/current"));
  t.equal(await digest(), before, "a swap of the link is no drift");
  put("etc/teleport.service.d/own.conf", "[Service]\n");
  t.not(await digest(), before, "a drop-in beside it is");
});
