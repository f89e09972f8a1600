import { openNotices } from "@belay/shared";
import t from "tap";

/** A supervisor that a test looks at, and whose watch the test winds by hand. */
function supervised(env: Record<string, string>, alive: () => Promise<void> = async () => {}) {
  const told: string[] = [];
  let everyMs = 0;
  let fire: (() => void) | null = null;
  const notices = openNotices({
    env,
    write: (descriptor, text) => void told.push(`${descriptor} ${text}`),
    every(ms, work) {
      everyMs = ms;
      fire = work;
      return () => {
        fire = null;
      };
    },
    alive,
  });
  const beat = async () => {
    fire?.();
    // A beat asks first, and speaks when it has been answered.
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { notices, told, beat, everyMs: () => everyMs };
}

const WATCHED = { BELAY_NOTIFY_FD: "3", WATCHDOG_USEC: "60000000" };

t.test("ready, three beats in the watchdog's time, stopping", async (t) => {
  const { notices, told, beat, everyMs } = supervised(WATCHED);
  await beat();
  t.same(told, [], "nothing before it is ready");
  notices.ready();
  t.equal(everyMs(), 20_000);
  await beat();
  await beat();
  notices.stopping();
  await beat();
  t.same(told, ["3 READY=1", "3 WATCHDOG=1", "3 WATCHDOG=1", "3 STOPPING=1"]);
});

t.test("what doesn't move makes no beat, and one question at a time is asked", async (t) => {
  let asked = 0;
  let answer = () => {};
  const { notices, told, beat } = supervised(WATCHED, () => {
    asked += 1;
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  notices.ready();
  await beat();
  await beat();
  t.same(told, ["3 READY=1"]);
  t.equal(asked, 1);
  answer();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(told, ["3 READY=1", "3 WATCHDOG=1"]);
});

t.test("what fails still moves: a full disk is no reason for a restart", async (t) => {
  const { notices, told, beat } = supervised(WATCHED, () => Promise.reject(new Error("ENOSPC")));
  notices.ready();
  await beat();
  t.same(told, ["3 READY=1", "3 WATCHDOG=1"]);
});

t.test("without a supervisor, or a watchdog, there is nothing to say", async (t) => {
  const alone = supervised({});
  alone.notices.ready();
  alone.notices.stopping();
  t.same(alone.told, []);
  const unwatched = supervised({ BELAY_NOTIFY_FD: "3" });
  unwatched.notices.ready();
  await unwatched.beat();
  t.same(unwatched.told, ["3 READY=1"]);
});

t.test("a supervisor that can't be told is no reason to fall", async (t) => {
  const notices = openNotices({
    env: WATCHED,
    write: () => {
      throw new Error("EAGAIN");
    },
    every: () => () => {},
    alive: async () => {},
  });
  t.doesNotThrow(() => notices.ready());
  t.doesNotThrow(() => notices.stopping());
});
