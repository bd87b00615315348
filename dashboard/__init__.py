"""Streamlit pages over the store."""
