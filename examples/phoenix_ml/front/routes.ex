defmodule PhoenixMl.Front.Routes do
  @moduledoc false
  # The module that httpd calls, in the process of the connection, with each request.

  require Logger
  require Record

  alias PhoenixMl.{Failure, Model}
  alias PhoenixMl.Front.JSON

  Record.defrecordp(:mod, Record.extract(:mod, from_lib: "inets/include/httpd.hrl"))

  @type answer :: {:proceed, [{:response, tuple()}]}

  # httpd knows its callback by this name.
  @spec unquote(:do)(tuple()) :: answer()
  def unquote(:do)(mod(method: method, request_uri: uri) = request) do
    [path | _query] = uri |> to_string() |> String.split("?", parts: 2)

    case {to_string(method), path} do
      {"GET", "/health"} ->
        health()

      {"POST", "/api/search"} ->
        search(request)

      {"POST", "/api/answer"} ->
        answer(request)

      {_other, path} when path in ["/health", "/api/search", "/api/answer"] ->
        refuse(405, "wrong method")

      _nowhere ->
        refuse(404, "nothing is here")
    end
  end

  defp health do
    {state, body} = Model.health()
    respond(if(state == :ok, do: 200, else: 503), [], body)
  end

  defp search(request) do
    with {:ok, params} <- params(request),
         {:ok, matches} <- Model.search(params) do
      respond(200, [], %{matches: matches})
    else
      {:error, reason} -> fail(reason)
    end
  end

  defp answer(request) do
    with {:ok, params} <- params(request),
         {:ok, tokens} <- Model.answer(params) do
      send_chunks(request, tokens)
    else
      {:error, reason} -> fail(reason)
    end
  end

  # As Plug.Parsers does: a body that is no object is one parameter.
  defp params(mod(entity_body: body)) do
    case body |> IO.iodata_to_binary() |> JSON.decode() do
      {:ok, params} when is_map(params) -> {:ok, params}
      {:ok, other} -> {:ok, %{"_json" => other}}
      {:error, reason} -> {:error, reason}
    end
  end

  defp fail({:invalid_json, why}), do: refuse(400, "the body is not valid JSON: " <> why)

  defp fail(reason) do
    {status, headers, body} = Failure.response(reason)
    respond(status, headers, body)
  end

  defp refuse(status, sentence), do: respond(status, [], %{error: sentence})

  defp respond(status, headers, body) do
    body = body |> JSON.encode() |> IO.iodata_to_binary()

    head =
      [code: status, content_type: ~c"application/json", content_length: size(body)] ++
        for {name, value} <- headers, do: {String.to_charlist(name), String.to_charlist(value)}

    {:proceed, [{:response, {:response, head, [body]}}]}
  end

  defp size(body), do: body |> byte_size() |> Integer.to_charlist()

  # httpd has no call for a body in pieces.
  defp send_chunks(request, tokens) do
    head =
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"

    with :sent <- deliver(request, head),
         sent when is_integer(sent) <- Enum.reduce_while(tokens, 0, &send_chunk(request, &1, &2)),
         :sent <- deliver(request, "0\r\n\r\n") do
      already_sent(sent)
    else
      :closed -> already_sent(0)
    end
  rescue
    error in ErlangPython.Error ->
      Logger.error(Exception.message(error))
      # Without the last chunk the client sees that something is missing.
      :httpd_socket.close(mod(request, :socket_type), mod(request, :socket))
      already_sent(0)
  end

  # An empty chunk would be the end.
  defp send_chunk(_request, "", sent), do: {:cont, sent}

  defp send_chunk(request, token, sent) do
    size = byte_size(token)

    case deliver(request, [Integer.to_string(size, 16), "\r\n", token, "\r\n"]) do
      :sent -> {:cont, sent + size}
      # The reader has gone: the stream is halted, and the model stops.
      :closed -> {:halt, :closed}
    end
  end

  defp deliver(mod(socket_type: type, socket: socket), data) do
    if :httpd_socket.deliver(type, socket, data) == :socket_closed, do: :closed, else: :sent
  end

  defp already_sent(size), do: {:proceed, [response: {:already_sent, 200, size}]}
end
