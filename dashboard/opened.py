"""The store that every page reads, opened once a server; and what a page says when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from convoy.errors import ConvoyError, RunNotFoundError, StoreAwayError, StoreError
from convoy.settings import load
from convoy.store import Store
from dashboard.formats import literal

FIRST_RUN = "platform submit classify resnet18/eca --set data=digits --set recipe=digits_quick"
"""What pages without a run tell their reader to type."""

_AGAIN_S = 5
_TRIED = "store_tried_before"


def store() -> Store:
    """Return the store of this installation.

    Raises:
        ConvoyError: The settings are wrong, or the store is missing, away or of another version.
    """
    return _open(load().store_url)


# Opened anew now and then, so that a store which was deleted and made again is noticed.
@st.cache_resource(ttl=60, show_spinner=False, on_release=Store.close)
def _open(url: str) -> Store:
    return Store.open(url)


@contextmanager
def explained() -> Iterator[None]:
    """Turn our errors into a message on the page, where Streamlit would show a traceback."""
    try:
        yield
    except RunNotFoundError as error:
        st.warning(literal(str(error)), icon=":material/search_off:")
        st.page_link("views/runs.py", label="All runs", icon=":material/list:")
    except StoreAwayError as error:
        st.warning(
            f"**The store does not answer.** {literal(str(error))}\n\n"
            f"This page tries again every {_AGAIN_S} seconds.",
            icon=":material/cloud_off:",
        )
        _try_again()
    except StoreError as error:
        st.warning(
            f"**There is no store to read.** {literal(str(error))}", icon=":material/database_off:"
        )
        _try_again()
    except ConvoyError as error:
        st.warning(literal(str(error)), icon=":material/error:")
        _try_again()


@st.fragment(run_every=_AGAIN_S)
def _try_again() -> None:
    if st.session_state.pop(_TRIED, False):
        st.rerun()
    st.session_state[_TRIED] = True
