"""The LangChain and LangGraph integration."""
