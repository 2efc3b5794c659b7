/** Calls back at the start of each minute of the clock, as Cloudflare's cron trigger does. */
export function everyMinute(call: () => Promise<void>): () => void {
  let timer: NodeJS.Timeout;
  let isUnderWay = false;
  const schedule = (): void => {
    timer = setTimeout(
      () => {
        schedule();
        // A slow turn is not overtaken by the next one.
        if (isUnderWay) return;
        isUnderWay = true;
        void call().finally(() => (isUnderWay = false));
      },
      60_000 - (Date.now() % 60_000),
    );
  };
  schedule();
  return () => clearTimeout(timer);
}
