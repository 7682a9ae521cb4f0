/* consentkit head: runs while the page is parsed, so that style sheets know the answer before first paint.
   Cookie consent_hint: <revision>~<d|u>~<key>~<key>; the server never trusts it. */
((doc) => {
  const html = doc.documentElement.dataset;
  const [revision, mark, ...keys] = (/(?:^|; )consent_hint=([^;]*)/.exec(doc.cookie) || ["", ""])[1].split("~");
  const known = revision === doc.currentScript.dataset.revision;
  html.consent = known && mark === "d" ? "decided" : "undecided";
  html.consentGranted = known ? keys.join(" ") : "";
  if (navigator.globalPrivacyControl) html.consentSignal = "gpc";
})(document);
