defmodule PhoenixMl.Failure do
  @moduledoc """
  What a client is told when a request fails: a status, headers and a body for JSON.

  | what happened | status |
  |---|---|
  | a field is missing or wrong | 422 |
  | the pool has as many requests as it may have, or no worker | 503, with `retry-after` |
  | the deadline has passed | 504 |
  | a message is over the limit | 413 |
  | Python raised, or died | 500 |

  Python's tracebacks go to the log, and not to the client.
  """

  require Logger
  alias ErlangPython.Error

  @type response :: {status :: 400..599, headers :: [{String.t(), String.t()}], body :: map()}

  @spec response(PhoenixMl.Model.reason()) :: response()
  def response({:invalid, sentence}), do: {422, [], %{error: sentence}}

  def response(%Error{kind: kind})
      when kind in [:overloaded, :no_workers, :no_pool, :environment],
      do: {503, [{"retry-after", "1"}], %{error: "too busy, please try again"}}

  def response(%Error{kind: :timeout}), do: {504, [], %{error: "this took too long"}}
  def response(%Error{kind: :too_large}), do: {413, [], %{error: "this is too much text"}}

  def response(%Error{} = error) do
    Logger.error(Exception.message(error))
    {500, [], %{error: "the model failed"}}
  end
end
