defmodule ErlangPython.NoNetwork do
  @moduledoc false
  # The environment of a program that must do without a network: each way to it is closed, and says so at once.

  @nowhere "http://127.0.0.1:9"
  @ways ~w(HTTP_PROXY HTTPS_PROXY PIP_INDEX_URL UV_DEFAULT_INDEX)
  @retries ~w(PIP_RETRIES UV_HTTP_RETRIES)

  @spec variables() :: [{String.t(), String.t()}]
  def variables,
    do: for(name <- @ways, do: {name, @nowhere}) ++ for(name <- @retries, do: {name, "0"})
end
