// The features of GitHub Connect: which are switched on, and what each still waits for.

import {
  assessFeature,
  FEATURE_NAMES,
  FEATURES,
  type FeatureAssessment,
  type FeatureName,
} from '../../protocol/features.ts'
import { allowNames, type Policy } from '../../protocol/profile.ts'
import type { FeatureBody, Status } from '../../protocol/wire.ts'
import type { Clock } from '../../service/clock.ts'
import type { Drift } from './drift.ts'
import type { ConnectionState } from './connection-state.ts'

export type Features = {
  /** Asks GitHub first where one is switched on, so that what was granted a moment ago shows. */
  list(): Promise<FeatureBody[]>
  /** For `status`: what the owner of the App has to give. */
  warnings(): Status['warnings']
}

/** Where GitHub does not answer within this time, what is known has to do. */
const PATIENCE_MS = 5_000

export const createFeatures = (deps: {
  switched: () => readonly { readonly name: FeatureName; readonly file: string }[]
  policy: () => Policy
  connectionState: ConnectionState
  drift: Pick<Drift, 'check'>
  clock: Pick<Clock, 'sleep'>
}): Features => {
  const assess = (name: FeatureName): FeatureAssessment =>
    assessFeature(FEATURES[name], profileOf(name), deps.connectionState.read())

  const profileOf = (name: FeatureName) =>
    deps.switched().some(one => one.name === name)
      ? deps.policy().profiles.find(profile => profile.name === name)
      : undefined

  const toBody = (name: FeatureName): FeatureBody => {
    const assessment = assess(name)
    const profile = profileOf(name)
    const file = deps.switched().find(one => one.name === name)?.file
    return {
      name,
      ...FEATURES[name],
      ...assessment,
      next: assessment.next.replace('NAME', name),
      ...(file !== undefined && { file }),
      ...(profile?.installation !== undefined && { installation: profile.installation }),
      ...(profile?.repositories && { repositories: [...profile.repositories] }),
      ...(profile && { allow: allowNames(profile) }),
    }
  }

  return {
    async list() {
      const enough = new AbortController()
      if (deps.switched().length > 0) {
        await Promise.race([deps.drift.check({ force: true }), deps.clock.sleep(PATIENCE_MS, enough.signal)])
        enough.abort()
      }
      return FEATURE_NAMES.map(toBody)
    },
    warnings: () =>
      deps.switched().flatMap(({ name }) => {
        const { state, detail, next } = assess(name)
        if (state !== 'app-lacks') return []
        return [{ code: 'feature-permissions', detail: `${FEATURES[name].title} is switched on. ${detail}`, next }]
      }),
  }
}
