"""Reads a calendar by exchangelib, and prints what it got: see TestExchangelib."""
import sys
import warnings

from exchangelib import (
    BASIC, IMPERSONATION, Account, Configuration, Credentials, EWSDateTime, EWSTimeZone, Version,
)
from exchangelib.protocol import BaseProtocol, NoVerifyHTTPAdapter
from exchangelib.version import EXCHANGE_2016

warnings.simplefilter("ignore")  # the certificate is not looked at
url, user, password, mail = sys.argv[1:]
BaseProtocol.HTTP_ADAPTER_CLS = NoVerifyHTTPAdapter
tz = EWSTimeZone("UTC")
config = Configuration(
    service_endpoint=url, credentials=Credentials(user, password), auth_type=BASIC, version=Version(build=EXCHANGE_2016)
)
account = Account(mail, config=config, autodiscover=False, access_type=IMPERSONATION, default_timezone=tz)
begin, end = EWSDateTime(2026, 11, 26, tzinfo=tz), EWSDateTime(2026, 11, 27, tzinfo=tz)
for i in account.calendar.view(start=begin, end=end).only("subject", "start", "end", "legacy_free_busy_status", "sensitivity"):
    print("item", i.subject, i.start.isoformat(), i.end.isoformat(), i.legacy_free_busy_status, i.sensitivity)
print("oof", account.oof_settings.state)
for answer in account.protocol.get_free_busy_info([(account, "Required", False)], begin, end):
    for e in answer.calendar_events:
        print("availability", answer.view_type, e.start.astimezone(tz).isoformat(), e.busy_type)
subscription = account.calendar.subscribe_to_streaming()
for n in account.calendar.get_streaming_events(subscription, connection_timeout=1, max_notifications_returned=1):
    print("events", *(type(e).__name__ for e in n.events))
account.calendar.unsubscribe(subscription)
print("unsubscribed")
