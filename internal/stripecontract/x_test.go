package stripecontract_test
import ("testing";"time";"net/http";"strings";"net/url";"example.com/saaskit/internal/stripecontract")
func TestX(t *testing.T){
 s:=time.Now(); c,err:=stripecontract.Load(); if err!=nil{t.Fatal(err)}; t.Log(time.Since(s), c.Version())
 s=time.Now(); o,ok,err:=stripecontract.EventObject("charge.refund.updated"); t.Log(o,ok,err,time.Since(s))
 for _,q:=range []string{
  "POST /v1/checkout/sessions mode=subscription&line_items[0][price]=p&line_items[0][quantity]=1&success_url=http://x/&expand[]=line_items",
  "POST /v1/checkout/sessions mode=subscription&line_items[0][bogus]=p&line_items[0][quantity]=1&success_url=http://x/",
  "POST /v1/checkout/sessions mode=subscription&line_items[0][price_data][unit_amount]=p&line_items[0][quantity]=1&success_url=http://x/",
  "POST /v1/checkout/sessions mode=sub&success_url=http://x/",
  "POST /v1/products foo=bar&name=x", "POST /v1/products active=foo&name=x","POST /v1/products active=true", "POST /v1/products name=x&bogus[a]=1",
  "GET /v1/events types[]=invoice.paid&created[gte]=12&delivery_success=false&limit=3",
  "GET /v1/events created[bogus]=12",
  "GET /v1/events created=x",
  "GET /v1/subscriptions/sub_1 expand[]=latest_invoice.payment_intent&expand[]=items.data.price.product",
  "GET /v1/subscriptions/sub_1 expand[]=status",
  "GET /v1/subscriptions expand[]=data.customer",
  "DELETE /v1/subscriptions/sub_1 prorate=true",
  "GET /v1/nope ",
  "POST /v1/subscriptions/sub_1 cancel_at=&items[0][id]=x&items[0][deleted]=true&trial_end=now",
  "POST /v1/subscriptions/sub_1 trial_end=later&proration_behavior=x",
 }{
  f:=strings.Fields(q+" "); enc:=""; if len(f)>2 {v,_:=url.ParseQuery(f[2]); enc=v.Encode()}
  var r *http.Request
  if f[0]=="POST" { r,_=http.NewRequest(f[0],"http://h"+f[1],strings.NewReader(enc)); r.Header.Set("Content-Type","application/x-www-form-urlencoded")} else {r,_=http.NewRequest(f[0],"http://h"+f[1]+"?"+enc,nil)}
  call,err:=c.Decode(r); t.Log(q); if err!=nil {t.Logf("   ERR %#v",err)} else {t.Logf("   %v %v %v",call.Pattern,call.Params,call.Expand)}
 }
}
