"""The fields of custom resources that the manifests use, a line for each part of a kind.

A field that is not listed is a slip of the pen, or new: an API server drops or refuses what it does not
know, and the definitions that it would check against are not part of this repository.
"""

PROBE = "httpGet.path httpGet.port periodSeconds timeoutSeconds failureThreshold"
SOURCE = "namespaces serviceAccounts notServiceAccounts notRequestPrincipals"
OPERATION = "methods paths notPaths ports"


def under(prefix: str, fields: str) -> set[str]:
    """Return the fields, each below the prefix."""
    return {f"{prefix}.{field}" for field in fields.split()}


KNOWN: dict[tuple[str, str], set[str]] = {
    ("gateway.networking.k8s.io/v1", "Gateway"): under("spec", "gatewayClassName infrastructure.labels.*")
    | under("spec.listeners", "name port protocol allowedRoutes.namespaces.from"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): under("spec.parentRefs", "name sectionName")
    | under("spec.rules", "backendRefs.name backendRefs.port timeouts.request"),
    ("networking.istio.io/v1", "DestinationRule"): under("spec", "host subsets.name subsets.labels.*")
    | under("spec.trafficPolicy", "connectionPool.tcp.connectTimeout")
    | under("spec.trafficPolicy.outlierDetection", "consecutive5xxErrors interval baseEjectionTime maxEjectionPercent"),
    ("networking.istio.io/v1", "VirtualService"): under("spec", "hosts")
    | under("spec.http", "name timeout match.method.exact")
    | under("spec.http.retries", "attempts perTryTimeout retryOn")
    | under("spec.http.route", "destination.host destination.subset weight"),
    ("security.istio.io/v1", "AuthorizationPolicy"): under("spec", "action selector.matchLabels.*")
    | under("spec.rules.from.source", SOURCE)
    | under("spec.rules.to.operation", OPERATION)
    | under("spec.rules.when", "key values")
    | under("spec.targetRefs", "group kind name"),
    ("security.istio.io/v1", "PeerAuthentication"): under("spec", "mtls.mode"),
    ("security.istio.io/v1", "RequestAuthentication"): under("spec", "selector.matchLabels.*")
    | under("spec.jwtRules", "issuer audiences fromCookies jwksUri forwardOriginalToken"),
    ("telemetry.istio.io/v1", "Telemetry"): under("spec.accessLogging", "providers.name filter.expression")
    | under("spec.tracing", "providers.name randomSamplingPercentage"),
    ("serving.knative.dev/v1", "Service"): under("spec.traffic", "revisionName percent tag")
    | under("spec.template.metadata", "name labels.* annotations.*")
    | under("spec.template.spec", "serviceAccountName automountServiceAccountToken enableServiceLinks timeoutSeconds")
    | under("spec.template.spec.volumes", "name secret.secretName")
    | under("spec.template.spec.containers", "name image imagePullPolicy ports.name ports.containerPort")
    | under("spec.template.spec.containers.env", "name value valueFrom.secretKeyRef.name valueFrom.secretKeyRef.key")
    | under("spec.template.spec.containers.volumeMounts", "name mountPath readOnly")
    | under("spec.template.spec.containers.resources", "requests.cpu requests.memory limits.cpu limits.memory")
    | under("spec.template.spec.containers.securityContext", "runAsNonRoot runAsUser runAsGroup")
    | under("spec.template.spec.containers.securityContext", "allowPrivilegeEscalation readOnlyRootFilesystem")
    | under("spec.template.spec.containers.securityContext", "capabilities.drop seccompProfile.type")
    | under("spec.template.spec.containers.startupProbe", PROBE)
    | under("spec.template.spec.containers.readinessProbe", PROBE)
    | under("spec.template.spec.containers.livenessProbe", PROBE),
}
