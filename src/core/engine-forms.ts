// The forms with which an App is created, as the configuration fills them in.

import type { Account } from '../protocol/connection.ts'
import { type Permissions, unitePermissions } from '../protocol/scope.ts'
import { appManifest, enterprisePrefill, manifestAction } from './github/app-manifest.ts'
import type { Config } from '../service/config.ts'
import type { AppForm } from '../page/requests.ts'

export type Forms = {
  /** The form's address: our page for a manifest, GitHub's pre-filled form for an enterprise. */
  formUrl(account: Account, state: string): string
  appForm(account: Account, state: string): AppForm
  /** What the App is asked to have. */
  wantedPermissions(): Permissions
}

export const createForms = (config: () => Config): Forms => {
  const outline = () => {
    const { appliance, app, policy, web } = config()
    return {
      name: app.name,
      url: appliance.url,
      description: `GitHub Connect of ${appliance.hostname}`,
      permissions: unitePermissions([app.permissions, ...policy.profiles.map(profile => profile.permissions)]),
      setupUrl: `${web.publicUrl}/setup`,
    }
  }
  const formUrl = (account: Account, state: string): string =>
    account.type === 'enterprise'
      ? enterprisePrefill(config().github.url, account, outline())
      : `${config().web.publicUrl}/enable/${state}`
  const appForm = (account: Account, state: string): AppForm => ({
    action: manifestAction(config().github.url, account, state),
    manifest: appManifest({ ...outline(), redirectUrl: `${config().web.publicUrl}/callback` }),
    permissions: outline().permissions,
  })
  return { formUrl, appForm, wantedPermissions: () => outline().permissions }
}
