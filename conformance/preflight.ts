import { idOf } from './effects.js';
import { EffectCount } from './expectations.js';
import { TargetError } from './finding.js';
import { curlOf } from './http/curl.js';
import { freshKey, send } from './http/send.js';
import type { Profile } from './profiles.js';
import type { Subject } from './subject.js';
import { isSuccess, successText, type Target } from './target.js';

/**
 * Sends one valid request with a new key, because no check means anything if the options do not describe a request that succeeds.
 *
 * @throws NoAnswer if the service does not answer
 * @throws TargetError if the request is refused, or its effect is not counted
 */
export async function preflight(target: Target, profile: Profile, progress: Subject['progress']): Promise<Subject> {
  const effects = await EffectCount.from({ target });
  const first = await send(target, { key: freshKey(profile) });
  const request = curlOf(first.request, target.keyHeader);
  if (!isSuccess(target, first.status)) {
    throw new TargetError(
      `The service refuses the first request, so it cannot be checked. Expected ${successText(target)}, got ${first.status}: see --path, --method, --header, --body and --success.\n${request}\n${first.text.slice(0, 1_000)}`,
    );
  }
  if (effects.isExact) {
    const made = await effects.since([first]);
    if (made !== 1)
      throw new TargetError(
        `Expected one effect of the first request, counted ${made}: see --effects, --effects-list, --effects-command and --effects-per-request.\n${request}`,
      );
  }
  return { target, profile, progress, repliesHaveIds: idOf(target, first) !== undefined };
}
