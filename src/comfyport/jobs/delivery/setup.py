"""The bucket that BUCKET_* describe, or what is wrong with what they say."""

from comfyport.jobs.delivery.place import located
from comfyport.jobs.delivery.store import Account


def account_set_up(
    endpoint: str,
    *,
    name: str,
    region: str,
    prefix: str,
    access_key_id: str,
    secret_access_key: str,
    public_url: str,
    link_seconds: int,
) -> tuple[Account | None, str]:
    """The account, None if there is no endpoint; and a sentence on what is wrong or missing, if anything is."""
    if not endpoint:
        return None, ""
    try:
        place = located(endpoint, bucket=name, region=region, prefix=prefix)
    except ValueError as error:
        return None, f"BUCKET_ENDPOINT_URL cannot be used: {error}."
    needed = {"BUCKET_SECRET_ACCESS_KEY": secret_access_key}
    if place.service == "s3":
        needed["BUCKET_ACCESS_KEY_ID"] = access_key_id
    missing = sorted(variable for variable, value in needed.items() if not value)
    if missing:
        return None, f"BUCKET_ENDPOINT_URL is set, but not {' and '.join(missing)}: nothing can be put into the bucket."
    return Account(place, access_key_id, secret_access_key, public_url, link_seconds), ""
